"""Runs of simple layers that are explained as one step: a convolution, its frozen normalisation, its activation.

Evaluated one by one, these layers keep their inputs for gradients of weights, statistics and slopes that nobody wants,
and compute some of them. As one step they keep what the maps and the activation's derivative need, and the backward
pass of a frozen normalisation is one product. Forward, every number is the same, bit for bit, but where
:mod:`leam.explain.backends.kernels` has a loop for normalisation and activation: there, to rounding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from leam.explain.backends.operations import Step, Tap, is_activation, is_affine, is_convolution
from leam.explain.layers import Layer
from leam.recognizers.onnx.layers import Clamp


class StrayedError(Exception):
    """A network took another way than when its units were found."""


@dataclass(frozen=True)
class Unit:
    """Modules that run one after another, each on nothing but the output of the one before.

    Attributes:
        names: The modules' names in ``named_modules()``.
        modules: The modules: at most one convolution, then normalisations, then activations.
    """

    names: tuple[str, ...]
    modules: tuple[nn.Module, ...]

    @property
    def convolution(self) -> str | None:
        """The name of its convolution; None where it has none."""
        return self.names[0] if is_convolution(self.modules[0]) else None

    @property
    def free(self) -> bool:
        """Whether its modules are as torch made them: in evaluation, and nobody hooked into them."""
        return all(map(_untouched, self.modules))


@dataclass
class _Call:
    name: str
    module: nn.Module
    given: Tensor | None
    output: object = None


@dataclass
class _Trace(TorchFunctionMode):
    """Which tensors are read, and how often, in a forward pass."""

    calls: list[_Call] = field(default_factory=list)
    uses: Counter[int] = field(default_factory=Counter)
    # An object's id is its own only as long as it lives.
    alive: list[object] = field(default_factory=list)
    paused: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        """Run any function of torch, and note the tensors that it reads."""
        given = [(t, _version(t)) for t in _tensors([*args, *(kwargs or {}).values()])]
        result = func(*args, **(kwargs or {}))
        # Asking for a shape or a device reads no values, and a move to where it is hands on the tensor itself.
        if not self.paused and isinstance(result, Tensor | tuple | list | float):
            for tensor, version in given:
                if result is not tensor or _version(tensor) != version:
                    self.note(tensor)
        return result

    def note(self, tensor: Tensor) -> None:
        """Count one reading."""
        self.uses[id(tensor)] += 1
        self.alive.append(tensor)


def find_units(module: nn.Module, inputs: Tensor, layers: Sequence[Layer] = ()) -> tuple[Unit, ...]:
    """The units of a network, found by running it once.

    Only torch's own layers are joined (and the frozen affine layers of this package), each called once, in evaluation
    mode, without hooks, and where nothing else reads what lies between them.

    Args:
        module: The network, in the mode in which it will run.
        inputs: One input ``(1, 3, h, w)``; its values do not matter.
        layers: The layers to be explained; a unit must not hide the output of one.
    """
    trace = _Trace()
    with ExitStack() as hooks, torch.no_grad():
        for name, child in module.named_modules():
            if _kind(child) and _untouched(child):
                _follow(hooks, trace, name, child)
        with trace:
            embedding = module(inputs.clone())
    times = Counter(call.name for call in trace.calls)
    sound = [c for c in trace.calls if times[c.name] == 1 and c.given is not None]
    readers = {id(call.given): call for call in sound}
    explained = {layer.module for layer in layers}
    units: list[Unit] = []
    taken: set[str] = set()
    for call in sound:
        if call.name in taken:
            continue
        run = [call]
        while following := _next(run[-1], trace, readers, embedding):
            run.append(following)
        taken.update(member.name for member in run)
        unit = Unit(tuple(c.name for c in run), tuple(c.module for c in run))
        hidden = unit.names[1:] if unit.convolution else unit.names
        if _worthwhile(unit) and not explained.intersection(hidden):
            units.append(unit)
    return tuple(units)


@contextmanager
def running(
    units: Sequence[Unit],
    taps: Mapping[str, Tap],
    anchor: Tensor,
    *,
    copied: frozenset[str],
    products: bool = False,
) -> Iterator[dict[str, Step]]:
    """Run units as single steps inside the block; their modules are as before after it, also after an exception.

    Args:
        units: From :func:`find_units`.
        taps: What is told each convolution's output and its gradient, by the convolution's name.
        anchor: A tensor that wants a gradient: what makes a tapped step part of the graph.
        copied: Names of convolutions whose output a later step overwrites: these are handed on as a copy.
        products: Whether the taps need no activations where the gradient is zero.

    Yields:
        The steps, by the name of their first module.
    """
    steps: dict[str, Step] = {}
    patched: list[nn.Module] = []
    try:
        for unit in units:
            name = unit.names[0]
            tap = taps.get(name)
            steps[name] = Step(unit.modules, tap, copy=name in copied, products=products)
            patched += unit.modules
            _patch(unit, steps[name], anchor)
        yield steps
    finally:
        for module in patched:
            vars(module).pop("forward", None)


def _worthwhile(unit: Unit) -> bool:
    """Whether a unit saves anything: a lone activation of torch's does not, unless its backward pass is a slow one."""
    return (
        len(unit.modules) > 1
        or not is_activation(unit.modules[0])
        or type(unit.modules[0]) in {nn.PReLU, Clamp}
    )


def _patch(unit: Unit, step: Step, anchor: Tensor) -> None:
    """Let the first module do the work of all, and the others hand on what it gave."""
    pending: list[Tensor] = []
    last = unit.modules[-1]

    def first(x: Tensor) -> Tensor:
        y = step.run(x, anchor)
        pending[:] = [y]
        return y

    def passing(module: nn.Module) -> Callable[[Tensor], Tensor]:
        def hand_on(x: Tensor) -> Tensor:
            if not pending or x is not pending[0]:
                raise StrayedError
            if module is last:
                pending.clear()
            return x

        return hand_on

    # As an attribute of its own, without torch's search for what kind of value it is.
    vars(unit.modules[0])["forward"] = first
    for module in unit.modules[1:]:
        vars(module)["forward"] = passing(module)


def _follow(hooks: ExitStack, trace: _Trace, name: str, module: nn.Module) -> None:
    """Note every call of a module: what it is given, and what it gives."""

    def before(child: nn.Module, given: tuple[object, ...]) -> tuple[object, ...] | None:
        if len(given) != 1 or not isinstance(given[0], Tensor):
            trace.calls.append(_Call(name, child, None))
            return None
        trace.calls.append(_Call(name, child, given[0]))
        trace.note(given[0])
        # It works on a copy, so that an in-place step gives another tensor than it was given.
        trace.paused = True
        copy = given[0].clone()
        trace.paused = False
        return (copy,)

    def after(_child: nn.Module, _given: object, output: object) -> None:
        trace.calls[-1].output = output
        trace.alive.append(output)

    for handle in (
        module.register_forward_pre_hook(before),
        module.register_forward_hook(after),
    ):
        hooks.callback(handle.remove)


def _next(call: _Call, trace: _Trace, readers: dict[int, _Call], embedding: object) -> _Call | None:
    """The call that alone reads what this one gave, if both fit into one unit."""
    if call.output is embedding or trace.uses[id(call.output)] != 1:
        return None
    following = readers.get(id(call.output))
    if following is None or _kind(following.module) < max(_kind(call.module), 2):
        return None
    # Slopes are no limits: a PReLU joins nothing but what is linear.
    slopes = isinstance(call.module, nn.PReLU) or isinstance(following.module, nn.PReLU)
    return None if is_activation(call.module) and slopes else following


def _kind(module: nn.Module) -> int:
    """Its place in a unit: 1 a convolution, 2 a normalisation, 3 an activation; 0 for anything else."""
    if is_convolution(module):
        return 1
    return 2 if is_affine(module) else 3 * is_activation(module)


def _untouched(module: nn.Module) -> bool:
    """Whether nobody hooked into a module or gave it another forward pass, and it is evaluated."""
    state = vars(module)
    hooked = any(
        state.get(kind)
        for kind in (
            "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
        )
    )  # fmt: skip
    return not (hooked or module.training or "forward" in state)


def _version(tensor: Tensor) -> int:
    # torch counts in-place writes here alone, and not those into what was made in inference mode.
    return 0 if tensor.is_inference() else tensor._version  # noqa: SLF001


def _tensors(values: Sequence[object]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(value)
