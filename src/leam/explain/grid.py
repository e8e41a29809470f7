"""Follow the places of the picture through a forward pass.

Each tensor has a place in the picture for each of its elements: the row and column that it came from. Operations that
move elements move their places, a contraction takes the mean of the places along its axis, and where several tensors
meet, the places of the one that was averaged least count. Class tokens have none. The places depend on the operations
alone, and not on the values or on the shapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from leam.explain.identity import Identities, tensors_in

# Operations that keep every element and its value, and that at most arrange them anew.
_KEEP = {"alias", "clone", "contiguous", "detach", "lift_fresh", "_to_copy", "to"}
_SHAPES = {"_reshape_alias", "_unsafe_view", "reshape", "unflatten", "view"}
_TURNS = {"movedim", "permute", "t", "transpose", "unsqueeze"}
_VIEWS = {*_SHAPES, *_TURNS, "expand", "squeeze"}
_MOVES = {
    *("_pad_circular", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d"),
    *("replication_pad1d", "replication_pad2d", "repeat", "flip", "roll", "rot90", "unfold"),
    *("cat", "stack", "narrow", "select", "slice", "split", "split_with_sizes", "unbind"),
    *("unsafe_split", "unsafe_split_with_sizes", "pixel_shuffle", "pixel_unshuffle", "im2col"),
    *("gather", "index", "index_select", "take_along_dim"),
}
_REDUCTIONS = {
    *("amax", "amin", "argmax", "argmin", "max", "min", "mean", "median", "prod", "sum"),
    *("linalg_vector_norm", "logsumexp", "norm", "std", "std_mean", "var", "var_mean"),
}
_POOLS = ("adaptive_avg_pool", "_adaptive_avg_pool", "avg_pool", "upsample", "_upsample")
_MAX_POOLS = ("max_pool", "adaptive_max_pool")
# The first matrix is this argument, the second the next one.
_PRODUCTS = {"bmm": 0, "linear": 0, "mm": 0, "mv": 0} | dict.fromkeys(
    ["_addmm_activation", "addmm", "addmv", "baddbmm"], 1
)
_SUMS = frozenset({"add", "add_", "addcmul", "addcmul_"})
_RECTIFIERS = frozenset({"relu", "relu_"})
_ROUNDINGS = frozenset({"round", "round_"})
_ATTENTION = "_scaled_dot_product"
# Operations whose results have the shape of an input, but not its places.
_OPAQUE = (
    *("_fft", "linalg_", "sort", "topk", "scatter", "as_strided"),
    *("index_add", "index_copy", "index_put", "index_reduce", "masked_scatter", "put"),
)

# Places closer than this, in pixels of the picture, are the same.
SAME = 1e-3


@dataclass(frozen=True)
class Places:
    """Where in the picture the elements of a tensor come from.

    Attributes:
        rows: Rows, float64 on the processor, of a shape that broadcasts to the tensor's; NaN for elements without a
            place. None if no
            element has one, or all have the same.
        columns: Columns, likewise.
        blur: How often places were averaged.
    """

    rows: Tensor | None
    columns: Tensor | None
    blur: int = 0

    def each(self, change: Callable[[Tensor], Tensor], blur: int = 0) -> Places:
        """The places after a change of rows and of columns."""
        rows, columns = (
            axis if axis is None or (found := change(axis)) is axis else _squeezed(found)
            for axis in (self.rows, self.columns)
        )
        return Places(rows, columns, self.blur + blur)

    @property
    def known(self) -> bool:
        """Whether any element has a place."""
        return self.rows is not None or self.columns is not None


@dataclass(frozen=True, eq=False)
class Value:
    """Numbers that an operation computed, in any shape.

    Attributes:
        number: In the order of execution.
        sources: The values that it was computed from.
        mixes: Whether the operation mixed places.
        convolves: Whether it was a convolution.
        attends: Whether it was attention, or a product of two tensors from the picture that mixes places.
        summands: The two values of a sum of tensors of one shape.
        rectifies: Whether it was a ReLU.
        contracts: Whether it was a matrix product, a convolution or attention.
        pointwise: Whether each element was computed from one element of the only source.
        rounds: Whether it was a rounding.
        readers: The values that were computed from it.
    """

    number: int
    sources: tuple[Value, ...] = ()
    mixes: bool = False
    convolves: bool = False
    attends: bool = False
    summands: tuple[Value, Value] | None = None
    rectifies: bool = False
    contracts: bool = False
    pointwise: bool = False
    rounds: bool = False
    readers: list[Value] = field(default_factory=list)


@dataclass(frozen=True)
class Mark:
    """What is known about a tensor: the value that it holds, and the places of its elements."""

    value: Value
    places: Places


class GridTrace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the places and values of the tensors that a forward pass computes from its input.

    Args:
        inputs: The network's input, ``(1, C, h, w)``.

    Attributes:
        without_gradients: ``torch.no_grad`` or ``torch.inference_mode`` if part of the pass ran in it; else empty.
    """

    def __init__(self, inputs: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        rows = torch.arange(inputs.shape[2], dtype=torch.float64)
        columns = torch.arange(inputs.shape[3], dtype=torch.float64)
        places = Places(rows.view(1, 1, -1, 1), columns.view(1, 1, 1, -1))
        self._identities = Identities()
        self._marks = {self._identities.of(inputs): Mark(Value(0), places)}
        self._count = 0
        self.sums: list[Value] = []
        self.without_gradients = ""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise torch imports its compiler, which takes 2 s and 90 MB.
        return False

    def mark(self, tensor: Tensor) -> Mark | None:
        """What is known about a tensor now; None if it does not depend on the input."""
        return self._marks.get(self._identities.of(tensor))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        """Run any operation of torch, and follow the places of what it reads."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        given = tensors_in((args, kwargs))
        marks = [mark for tensor in given if (mark := self.mark(tensor))]
        if not marks:
            return result
        made = tensors_in(result)
        if not torch.is_grad_enabled():
            inference = torch.is_inference_mode_enabled()
            self.without_gradients = "torch.inference_mode" if inference else "torch.no_grad"
        call = _Call(func, args, kwargs, given, made, self)
        try:
            places = call.places()
        except RuntimeError:
            # Not every operation accepts numbers of this type or shape; nothing is known of its results then.
            places = call.each_gets(_NOWHERE)
        value = self._value(call, marks)
        for tensor, found in zip(made, places, strict=True):
            self._marks[self._identities.of(tensor)] = Mark(value, found)
        return result

    def _value(self, call: _Call, marks: Sequence[Mark]) -> Value:
        if call.name in _KEEP or call.name in _VIEWS:
            return marks[0].value
        self._count += 1
        summands = None
        if call.name in _SUMS and len(marks) == 2:  # noqa: PLR2004
            known = [tensor for tensor in call.given if self.mark(tensor)]
            same = all(tensor.shape == call.made[0].shape for tensor in known)
            summands = (marks[0].value, marks[1].value) if same else None
        sources = tuple(dict.fromkeys(mark.value for mark in marks))
        value = Value(
            self._count,
            sources,
            call.mixes,
            "convolution" in call.name,
            call.attends,
            summands,
            call.name in _RECTIFIERS,
            call.contracts,
            call.pointwise and len(sources) == 1,
            call.name in _ROUNDINGS,
        )
        for source in sources:
            source.readers.append(value)
        if summands:
            self.sums.append(value)
        return value


class _Call:
    """One call of an operation of torch, and what it does to places."""

    def __init__(
        self, func: Any, args: Any, kwargs: Any, given: list[Tensor], made: list[Tensor], trace: GridTrace  # noqa: ANN401
    ) -> None:  # fmt: skip
        self.func, self.args, self.kwargs = func, args, kwargs
        self.given, self.made, self.trace = given, made, trace
        self.name: str = func._schema.name.partition("::")[2]  # noqa: SLF001  its only name
        self.mixes = self.pointwise = False

    @property
    def contracts(self) -> bool:
        """Whether this is a matrix product, a convolution or attention."""
        return self.name in _PRODUCTS or "convolution" in self.name or "attention" in self.name

    @property
    def attends(self) -> bool:
        """Whether this is attention, once :meth:`places` was called."""
        if self.name in _PRODUCTS:
            place = _PRODUCTS[self.name]
            return self.mixes and all(self.trace.mark(one) for one in self.args[place : place + 2])
        return "attention" in self.name

    def places(self) -> list[Places]:
        """The places of each result."""
        rule = _RULES.get(self.name)
        if rule is None:
            prefixes = (prefix for prefix in _PREFIXES if self.name.startswith(prefix))
            rule = _PREFIXES.get(next(prefixes, ""), _Call.elementwise)
        return rule(self)

    def of(self, tensor: object) -> Places:
        """The places of an argument."""
        mark = self.trace.mark(tensor) if isinstance(tensor, Tensor) else None
        return mark.places if mark else _NOWHERE

    def argument(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """An argument by its name."""
        names = [argument.name for argument in self.func._schema.arguments]  # noqa: SLF001
        if name in self.kwargs:
            return self.kwargs[name]
        place = names.index(name) if name in names else len(self.args)
        return self.args[place] if place < len(self.args) else default

    def each_gets(self, places: Places) -> list[Places]:
        """The same places for each result."""
        return [places] * len(self.made)

    def kept(self) -> list[Places]:
        """Of the only input."""
        return self.each_gets(self.of(self.given[0]))

    def copied(self) -> list[Places]:
        """Of what is copied into a tensor."""
        return self.each_gets(self.of(self.given[-1]))

    def attended(self) -> list[Places]:
        """Of the queries."""
        self.mixes = True
        query = self.of(self.given[0]).each(partial(_mean, axes=[-1]))
        return [query, *[_NOWHERE] * (len(self.made) - 1)]

    def moved(self) -> list[Places]:
        """The operation itself, on places."""
        if self.func._overloadname == "dtype":  # noqa: SLF001  its only name
            return [_NOWHERE]
        first = self.args[0]
        moving = list(first) if isinstance(first, list | tuple) else [first]
        found = [self.of(tensor) for tensor in moving]
        results: list[list[Tensor | None]] = []
        for axis in ("rows", "columns"):
            given = [getattr(places, axis) for places in found]
            if all(places is None for places in given):
                results.append([None] * len(self.made))
            elif self.name in _SHAPES:
                shaped = _reshaped(given[0], moving[0].shape, self.made[0].shape)
                results.append([_squeezed(shaped)])
            elif self.name in _TURNS:
                results.append([self.func(given[0], *self.args[1:], **self.kwargs)])
            else:
                whole = [_whole(p, tensor) for p, tensor in zip(given, moving, strict=True)]
                outcome = self.move(whole if isinstance(first, list | tuple) else whole[0])
                results.append([_squeezed(leaf) for leaf in tree_leaves(outcome)])
        blur = max(places.blur for places in found)
        return [Places(rows, columns, blur) for rows, columns in zip(*results, strict=True)]

    def move(self, places: Any) -> Any:  # noqa: ANN401
        """The operation with places instead of its first argument."""
        if self.name == "constant_pad_nd":
            return self.func(places, self.args[1], math.nan)
        if self.name == "im2col":
            kernel, dilation, (height, width), stride = self.args[1:]
            padded = functional.pad(places, [width, width, height, height], value=math.nan)
            return self.func(padded, kernel, dilation, [0, 0], stride)
        args, kwargs = tree_map_only(Tensor, Tensor.cpu, (self.args[1:], self.kwargs))
        return self.func(places, *args, **kwargs)

    def product(self) -> list[Places]:
        """Of a matrix product: of the matrix that is not averaged along the common axis, or of the first one."""
        place = _PRODUCTS[self.name]
        left, right = self.args[place : place + 2]
        turned = self.name == "linear"
        found = []
        for tensor, other, along in ((left, right, -1), (right, left, -2)):
            places = self.of(tensor)
            if tensor is right and turned:
                places = places.each(lambda p: p.transpose(-1, -2))
            blurred = any(_varies(p, along) for p in (places.rows, places.columns))
            self.mixes |= blurred
            weights = self.interpolation(other, along, turned=turned) if blurred else None
            change = (
                partial(_mean, axes=[along])
                if weights is None
                else partial(_averaged, partial(_times, weights, along))
            )
            found.append((not places.known, blurred, places.each(change, int(blurred))))
        if right.ndim == 1:
            return self.each_gets(found[0][2].each(lambda p: p.squeeze(-1)))
        return self.each_gets(min(found, key=lambda item: item[:2])[2])

    def interpolation(self, matrix: Tensor, along: int, *, turned: bool) -> Tensor | None:
        """A constant matrix if it takes weighted means, as resizing does, and no other sums; else None."""
        if self.trace.mark(matrix) or matrix.ndim < 2:  # noqa: PLR2004
            return None
        weights = matrix.detach().to("cpu", torch.float64)
        weights = weights.mT if turned and along == -1 else weights
        sums = weights.sum(-2 if along == -1 else -1)
        return weights if bool(((sums - 1).abs() < SAME).all()) else None

    def convolved(self) -> list[Places]:
        """Means over channels and windows; windows that keep the size of the grid keep its places."""
        tensor, weight = self.given[0], self.given[1]
        places = self.of(tensor)
        self.mixes = weight.shape[2:].numel() > 1 or any(
            _varies(p, 1) for p in (places.rows, places.columns)
        )
        kernel = torch.ones(1, 1, *weight.shape[2:], dtype=torch.float64)
        stride, padding, dilation, transposed, output_padding = self.args[3:8]

        def run(p: Tensor) -> Tensor:
            result: Tensor = torch.ops.aten.convolution(
                p, kernel, None, stride, padding, dilation, transposed, output_padding, 1
            )
            return result

        def change(p: Tensor) -> Tensor:
            p = _mean(p, [1])
            return _averaged(run, p.expand(len(p), 1, *tensor.shape[2:]))

        same = self.made[0].shape[2:] == tensor.shape[2:]
        return self.each_gets(
            places.each(partial(_mean, axes=[1]) if same else change, int(self.mixes))
        )

    def pooled(self) -> list[Places]:
        """Means over windows; of the smallest and largest place for pooling that takes the largest value."""
        tensor, rest = self.given[0], self.args[1:]
        self.mixes = True
        if self.made[0].shape == tensor.shape:
            return self.each_gets(self.of(tensor).each(lambda p: p, 1))

        def run(p: Tensor) -> Tensor:
            result: Tensor = tree_leaves(self.func(p, *rest, **self.kwargs))[0]
            return result

        def change(p: Tensor) -> Tensor:
            axes = min(2, tensor.ndim - 1)
            p = p.expand(*p.shape[:-axes], *tensor.shape[-axes:]).contiguous()
            if self.name.startswith(_MAX_POOLS):
                return (run(p) - run(-p)) / 2
            return _averaged(run, p)

        return self.each_gets(self.of(tensor).each(change, 1))

    def sampled(self) -> list[Places]:
        """Means over the neighbours of the points of a sampling grid."""
        tensor, grid = self.given[0], self.given[1].detach().to("cpu", torch.float64)
        rest = self.args[2:]
        self.mixes = True

        def run(p: Tensor) -> Tensor:
            result: Tensor = self.func(p, grid, *rest)
            return result

        def change(p: Tensor) -> Tensor:
            p = _mean(p, [1])
            return _averaged(run, p.expand(len(p), 1, *tensor.shape[2:]).contiguous())

        return self.each_gets(self.of(tensor).each(change, 1))

    def reduced(self) -> list[Places]:
        """Means over the reduced axes."""
        tensor = self.given[0]
        axes = self.argument("dim")
        axes = list(range(tensor.ndim)) if axes in (None, []) else axes
        axes = [axis % tensor.ndim for axis in (axes if isinstance(axes, list | tuple) else [axes])]
        places = self.of(tensor)
        blurred = any(_varies(p, axis) for p in (places.rows, places.columns) for axis in axes)
        # The range by which a tensor is quantised has no gradient.
        self.mixes = blurred and tensor.requires_grad
        keep = self.made[0].ndim == tensor.ndim

        def change(p: Tensor) -> Tensor:
            p = _mean(p, axes)
            return p if keep else p.squeeze(axes)

        return self.each_gets(places.each(change, int(blurred)))

    def elementwise(self) -> list[Places]:
        """Of the input that was averaged least; nothing is known if none has the shape of the result."""
        self.mixes |= "attention" in self.name or "transformer" in self.name
        self.pointwise = not self.mixes and all(
            tensor.numel() <= made.numel() for tensor in self.given for made in self.made
        )
        if self.name.startswith(_OPAQUE):
            return self.each_gets(_NOWHERE)
        known = [places for tensor in self.given if (places := self.of(tensor)).known]
        found = [_joined([p for p in known if _fits(p, made.shape)]) for made in self.made]
        return [
            places.each(partial(deep, axes=made.ndim))
            for places, made in zip(found, self.made, strict=True)
        ]


_NOWHERE = Places(None, None)
_RULES: dict[str, Callable[[_Call], list[Places]]] = {
    **dict.fromkeys(_KEEP, _Call.kept),
    **dict.fromkeys(_VIEWS | _MOVES, _Call.moved),
    **dict.fromkeys(_PRODUCTS, _Call.product),
    **dict.fromkeys(_REDUCTIONS, _Call.reduced),
    **dict.fromkeys(["_convolution", "convolution", "convolution_overrideable"], _Call.convolved),
    "copy_": _Call.copied,
}
_PREFIXES: dict[str, Callable[[_Call], list[Places]]] = {
    _ATTENTION: _Call.attended,
    "grid_sampler": _Call.sampled,
    **dict.fromkeys(_POOLS + _MAX_POOLS, _Call.pooled),
}


def _fits(places: Places, shape: torch.Size) -> bool:
    """Whether places broadcast to a shape."""
    axes = [axis for axis in (places.rows, places.columns) if axis is not None]
    return all(
        axis.ndim <= len(shape)
        and all(n in {1, m} for n, m in zip(axis.shape[::-1], shape[::-1], strict=False))
        for axis in axes
    )


def _joined(found: Sequence[Places]) -> Places:
    """Where tensors meet: the places that were averaged least, or their mean if several were."""
    if len(found) == 1:
        return found[0]
    return Places(
        _least([(places.rows, places.blur) for places in found]),
        _least([(places.columns, places.blur) for places in found]),
        min((places.blur for places in found), default=0),
    )


def _least(found: Sequence[tuple[Tensor | None, int]]) -> Tensor | None:
    known = [(axis, blur) for axis, blur in found if axis is not None]
    least = min((blur for _, blur in known), default=0)
    best = [axis for axis, blur in known if blur == least]
    return reduce(_between, best) if best else None


def _between(a: Tensor, b: Tensor) -> Tensor:
    """The mean of two places; the only one where one is missing."""
    if a is b:
        return a
    return torch.where(a.isnan(), b, torch.where(b.isnan(), a, (a + b) / 2))


def _whole(places: Tensor | None, tensor: Tensor) -> Tensor:
    """Places in the full shape of their tensor; NaN if there are none."""
    if places is None:
        return torch.full(tensor.shape, math.nan, dtype=torch.float64)
    return places.expand(tensor.shape)


def _varies(places: Tensor | None, axis: int) -> bool:
    return places is not None and -places.ndim <= axis < places.ndim and places.shape[axis] > 1


def _mean(places: Tensor, axes: Sequence[int]) -> Tensor:
    """The mean along axes of those that have a place, as axes of size 1."""
    axes = [axis for axis in axes if places.shape[axis] > 1]
    return places.nanmean(axes, keepdim=True) if axes else places


def _averaged(run: Callable[[Tensor], Tensor], places: Tensor) -> Tensor:
    """An average of those that have a place, by an operation that also averages padding."""
    missing = places.isnan()
    weights = run((~missing).to(places.dtype))
    found = run(places.masked_fill(missing, 0.0)) / weights
    return found.masked_fill(weights.abs() < SAME, math.nan)


def _times(weights: Tensor, along: int, places: Tensor) -> Tensor:
    """Places times weights, along the last axis or along the one before it, where they vary on it."""
    if not _varies(places, along):
        return places
    return places @ weights if along == -1 else weights @ places


def _squeezed(places: Tensor) -> Tensor | None:
    """Places with size 1 along the axes on which they are constant; None if no two differ."""
    missing = places.isnan()
    holes = bool(missing.any())
    for axis, size in enumerate(places.shape):
        if size == 1:
            continue
        first = places.narrow(axis, 0, 1)
        if holes:
            first = places.masked_fill(missing, math.inf).amin(axis, keepdim=True)
        apart = (places - first).abs()
        if not bool((apart > SAME).any()):
            places = first.masked_fill(first.isinf(), math.nan) if holes else first
            missing = places.isnan()
    return places if places.numel() > 1 else None


def _reshaped(places: Tensor, old: torch.Size, new: torch.Size) -> Tensor:
    """Places of a tensor of another shape, full only along the axes that are split or merged where places vary."""
    places = deep(places, len(old))
    given: list[int] = []
    wanted: list[int] = []
    i = j = 0
    while i < len(old) or j < len(new):
        start, first = i, j
        before, after = math.prod(old[i : i + 1]), math.prod(new[j : j + 1])
        i, j = i + 1, j + 1
        while before != after:
            if before < after:
                before, i = before * old[i], i + 1
            else:
                after, j = after * new[j], j + 1
        whole = any(size > 1 for size in places.shape[start:i])
        given += [size if whole else 1 for size in old[start:i]]
        wanted += [size if whole else 1 for size in new[first:j]]
    return places.expand(given).reshape(wanted)


def deep(places: Tensor, axes: int) -> Tensor:
    """Places with this number of axes."""
    more = axes - places.ndim
    return places.view([1] * more + list(places.shape)) if more else places
