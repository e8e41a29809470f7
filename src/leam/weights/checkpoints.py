"""Read a checkpoint without running code from it, and load it into a network strictly."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from leam.errors import WeightsError, first_line
from leam.limits import memory_limit, readable
from leam.weights import pickles
from leam.weights.formats import CHECKPOINT, SAFETENSORS, kind_of, unpacked_size

State = dict[str, Tensor]
"""A network's parameters and buffers by name."""

_LOGGER = logging.getLogger(__name__)
# Channels that are unused after training contain values like 1e-39. They do not affect the output, but processors
# compute a hundred times slower with numbers this small.
_TRACE = 1e-30
_MAX_DEPTH = 8
_FLOAT_BYTES = 4
# The number of training batches: stored in some checkpoints, used by no network.
_COUNTER = "num_batches_tracked"
_MAX_NAMED = 6
# What torch.compile, FSDP and checkpoints of activations add to the names of the modules that they wrap.
_WRAPPERS = re.compile(r"\b(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
# A quantised linear layer in torch's own layout: its weight and its bias, in a tuple.
_PACKED = "._packed_params._packed_params"


@dataclass(frozen=True)
class Weights:
    """The tensors of one network in a checkpoint.

    Attributes:
        path: The file.
        tensors: The network's tensors by the names that the file gives them, without ``prefix``.
        prefix: What precedes these names in the file, such as ``module.backbone.``.
    """

    path: Path
    tensors: State
    prefix: str = ""

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor.

        Raises:
            WeightsError: The file has no such tensor.
        """
        if name not in self.tensors:
            layer = name.rpartition(".")[0]
            # What the file has of the same layer tells most.
            names = sorted(self.tensors, key=lambda other: not other.startswith(f"{layer}."))
            raise WeightsError(
                f"{self.path}: not a checkpoint of this network: missing {self.prefix}{name}; "
                f"it contains {_some(names, self.prefix)}"
            )
        return tuple(self.tensors[name].shape)


def find_weights(
    path: Path, markers: Collection[str], wanted: object = None, *, network: str = "this network"
) -> Weights:
    """The tensors of a network in a file.

    A file may contain several sets of weights: in nested dictionaries, lists and namespaces (``state_dict``, ``ema``,
    ...), or under several prefixes of one dictionary (``student.``, ``teacher.``). Of the sets that contain a marker,
    the one with the most tensors is taken, and the first in the file among equals; a log message says which one was
    taken and how to take another.

    Args:
        path: The file.
        markers: Names of tensors; every layout of the network has one of them.
        wanted: The set to take: its place in the file, as messages name it, or a part of that place.
        network: The name of the network for messages.

    Raises:
        WeightsError: The file is damaged or another kind of file, contains no such network, or no set with this name.
    """
    states = _read(path)
    sets = {
        place: found
        for outer, state in states.items()
        for place, found in _networks(path, outer, state, markers)
    }
    if not sets:
        names = max((list(state) for state in states.values()), key=len)
        raise WeightsError(
            f"{path}: not a checkpoint of {network}, which has {' or '.join(markers)}; "
            f"it contains {_some(names)}"
        )
    return sets[_chosen(path, {place: len(found.tensors) for place, found in sets.items()}, wanted)]


def read_state(path: Path, wanted: object = None) -> State:
    """The tensors of a ``.safetensors`` file or of a checkpoint that torch saved, by the file's names.

    Of several sets of tensors, the largest is taken; see :func:`find_weights`.

    Raises:
        WeightsError: The file is damaged or another kind of file, contains no tensors, or contains objects that could
            only be restored by running its code.
    """
    states = _read(path)
    if wanted is None:
        return max(states.values(), key=len)
    return states[_chosen(path, {place: len(state) for place, state in states.items()}, wanted)]


def without_prefix(state: Mapping[str, Tensor], marker: str) -> State:
    """The part of a state dict that belongs to a network, without the common prefix of its names.

    A checkpoint may contain the network inside a wrapper, for example ``module.backbone.`` beside a training head;
    tensors without the network's prefix are dropped.

    Args:
        state: Tensors by name.
        marker: The name of a tensor that identifies the network.
    """
    prefix = min(_prefixes(state, marker), key=len, default="")
    return _below(state, prefix)


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Build a network inside this block from the shapes of a file's tensors.

    Raises:
        WeightsError: The shapes fit no network.
    """
    try:
        yield
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path}: the shapes of its tensors fit no network of this kind ({first_line(error)})"
        ) from None


def fill(
    module: nn.Module,
    state: Mapping[str, Tensor],
    path: Path,
    heads: Sequence[str] = (),
    *,
    names: Callable[[str], str] = str,
    prefix: str = "",
    defaults: Mapping[str, Tensor] | None = None,
    sized: Collection[str] = (),
) -> None:
    """Load a state dict into a network; all names and shapes must match.

    Quantised tensors are dequantised. Dimensions of size 1 at the end of a shape do not count: a fully connected layer
    fits a 1x1 convolution.

    Args:
        module: The network.
        state: Tensors by the file's names.
        path: The file that they come from, for messages.
        heads: Parts of the file's names, from their beginning, that are used in training only and are ignored.
        names: From the module's names to the file's.
        prefix: What precedes the names in the file, for messages.
        defaults: Values of tensors that the file may lack, by the module's names.
        sized: The module's names of tensors whose shape depends on the input size, for messages.

    Raises:
        WeightsError: A name is missing or unexpected, or a tensor has another shape.
    """
    kind = f"{path}: not a checkpoint of {type(module).__name__}"
    own = module.state_dict()
    expected = {name: value for name, value in own.items() if not name.endswith(_COUNTER)}
    theirs = {name: names(name) for name in expected}
    defaults = defaults or {}
    missing = [
        theirs[name] for name in expected if theirs[name] not in state and name not in defaults
    ]
    known = set(theirs.values())
    extra = [
        name
        for name in state
        if name not in known
        and not name.endswith(_COUNTER)
        and not any(f"{name}.".startswith(f"{head}.") for head in heads)
    ]
    if missing or extra:
        named = (("missing", missing), ("unexpected", extra))
        raise WeightsError(
            f"{kind}: " + "; ".join(f"{what} {_some(part, prefix)}" for what, part in named if part)
        )
    found = {name: state.get(theirs[name], defaults.get(name)) for name in expected}
    for name, value in expected.items():
        given = found[name]
        if given is None or _trimmed(given) != _trimmed(value):
            shape = tuple(given.shape if given is not None else ())
            hint = _of_another_input(shape, tuple(value.shape), sized=name in sized)
            raise WeightsError(
                f"{kind}: {prefix}{theirs[name]} has shape {shape}, not {tuple(value.shape)}{hint}"
            )
    dense = {
        name: _dense(value).float().reshape(expected[name].shape)
        for name, value in found.items()
        if value is not None
    }
    broken = [prefix + theirs[name] for name, value in dense.items() if not value.isfinite().all()]
    if broken:
        raise WeightsError(f"{path}: contains numbers that are not finite, in {_some(broken)}")
    module.load_state_dict(own | without_traces(dense))
    module.eval()


def _of_another_input(given: Sequence[int], wanted: Sequence[int], *, sized: bool) -> str:
    """The way out if a tensor's shape is that of another input; else empty."""
    image = 4
    if len(given) == len(wanted) == image and (given[1], wanted[1]) == (1, 3):
        return '; its network sees grey pictures: export it to ONNX, and write channels = "GRAY"'
    if sized:
        return "; its network has another input size: correct input_size in the card"
    return ""


def without_traces(state: Mapping[str, Tensor]) -> State:
    """A state dict with negligibly small numbers set to zero, except in variances, which are divisors."""
    return {
        name: value
        if name.endswith("running_var") or not value.is_floating_point()
        else value.masked_fill(value.abs() < _TRACE, 0)
        for name, value in state.items()
    }


def _read(path: Path) -> dict[str, State]:
    """Every set of named tensors in a file, by its place in the file.

    Raises:
        WeightsError: As for :func:`read_state`.
    """
    try:
        kind = kind_of(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None
    if kind not in {CHECKPOINT, SAFETENSORS, None}:
        raise WeightsError(f"{path}: {kind}")
    if unpacked_size(path) > memory_limit():
        raise _too_large(path)
    try:
        with warnings.catch_warnings():
            # The warnings are about formats and do not concern the user.
            warnings.simplefilter("ignore")
            loaded = load_file(path) if kind == SAFETENSORS else pickles.load(path)
        states = dict(_states(loaded, (), set()))
    except pickles.NotPlain as error:
        raise WeightsError(
            f"{path}: contains {first_line(error)}, which is no plain data; opening it could run code; "
            "if you trust it, load it yourself and save its state_dict"
        ) from None
    except Exception as error:  # noqa: BLE001  decoders of damaged files may raise anything
        # Of an unknown instruction of a pickle, only the number is known.
        why = "" if isinstance(error, KeyError) else f" ({first_line(error)})"
        raise WeightsError(
            f"{path}: not a readable checkpoint{why}; expected a whole file that torch.save or safetensors wrote"
        ) from None
    if not states:
        raise WeightsError(f"{path}: contains no state dict")
    # Tensors may share their numbers, and networks do not.
    if any(
        _FLOAT_BYTES * sum(map(Tensor.numel, each.values())) > memory_limit()
        for each in states.values()
    ):
        raise _too_large(path)
    return states


def _too_large(path: Path) -> WeightsError:
    return WeightsError(
        f"{path}: its tensors need more than {readable(memory_limit())} of memory; raise the limit with --memory-limit "
        "(in Python, leam.set_memory_limit)"
    )


def _states(loaded: object, place: tuple[str, ...], seen: set[int]) -> Iterator[tuple[str, State]]:
    """The named tensors of each dictionary in nested containers, each container once."""
    if id(loaded) in seen or len(place) > _MAX_DEPTH:
        return
    if isinstance(loaded, Mapping):
        items = [(str(name), value) for name, value in loaded.items()]
    elif isinstance(loaded, list | tuple):
        items = [(str(number), value) for number, value in enumerate(loaded)]
    else:
        return
    seen.add(id(loaded))
    if isinstance(loaded, Mapping) and (state := _state(items)):
        yield ".".join(place), state
    for name, value in items:
        yield from _states(value, (*place, name), seen)


def _state(items: Sequence[tuple[str, object]]) -> State:
    """The tensors among the items of a dictionary, those of quantised layers under the names of plain ones."""
    state: State = {}
    for name, value in items:
        if name.endswith(_PACKED) and isinstance(value, tuple):
            parts = zip(("weight", "bias"), value, strict=False)
            found = {f"{name.removesuffix(_PACKED)}.{part}": tensor for part, tensor in parts}
        else:
            found = {name: value}
        for wrapped, part in found.items():
            full = _WRAPPERS.sub("", wrapped)
            tensor = pickles.tensor_of(part)
            if tensor is not None and _is_plain(tensor) and not full.endswith(_COUNTER):
                state[full] = tensor
    layers = {name.rpartition(".")[0] for name, value in state.items() if value.is_quantized}
    return {name: value for name, value in state.items() if not _is_scale(name, layers)}


def _is_scale(name: str, layers: Collection[str]) -> bool:
    """Whether a tensor is the scale or zero point of a quantised layer's activations, or of the network's input."""
    layer, _, what = name.rpartition(".")
    return (
        what in {"scale", "zero_point"} and bool(layers) and (layer in layers or layer == "quant")
    )


def _is_plain(value: Tensor) -> bool:
    """Whether a tensor can be loaded into a parameter or a buffer, and all its numbers are in the file."""
    return (
        value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_complex()
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def _networks(
    path: Path, place: str, state: State, markers: Collection[str]
) -> Iterator[tuple[str, Weights]]:
    """The networks in one dictionary: the outermost prefixes of a marker, and what is below each."""
    found = (prefix for marker in markers for prefix in _prefixes(state, marker))
    prefixes = dict.fromkeys(found)
    for prefix in prefixes:
        if not any(prefix != other and prefix.startswith(other) for other in prefixes):
            full = ".".join(part for part in (place, prefix.removesuffix(".")) if part)
            yield full or "the file", Weights(path, _below(state, prefix), prefix)


def _prefixes(state: Mapping[str, Tensor], marker: str) -> list[str]:
    return [
        name.removesuffix(marker) for name in state if name == marker or name.endswith(f".{marker}")
    ]


def _below(state: Mapping[str, Tensor], prefix: str) -> State:
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }


def _chosen(path: Path, sizes: Mapping[str, int], wanted: object) -> str:
    """The place of the set of weights to take, of sets of these sizes by place."""
    if wanted is not None:
        found = [place for place in sizes if f".{wanted}." in f".{place}."]
        if not found:
            raise WeightsError(
                f"{path}: has no set of weights called {wanted}; available: {', '.join(sizes)}"
            )
        return found[0]
    largest = max(sizes, key=lambda place: sizes[place])
    # Training heads and optimisers hold few tensors; only comparable sets are alternatives.
    others = [p for p in sizes if p != largest and 2 * sizes[p] >= sizes[largest]]
    if others:
        _LOGGER.warning(
            '%s: takes the weights in %s; to take others, write options.weights = "%s" in the card%s',
            path,
            largest,
            others[0],
            f" (or {', '.join(others[1:])})" if others[1:] else "",
        )
    return largest


def _dense(value: Tensor) -> Tensor:
    return value.dequantize() if value.is_quantized else value


def _trimmed(value: Tensor) -> tuple[int, ...]:
    """A shape without sizes of 1 at its end."""
    shape = list(value.shape)
    while len(shape) > 1 and shape[-1] == 1:
        shape.pop()
    return tuple(shape)


def _some(names: Sequence[str], prefix: str = "") -> str:
    rest = len(names) - _MAX_NAMED
    some = ", ".join(f"{prefix}{name}" for name in names[:_MAX_NAMED])
    return some + (f" and {rest} more" if rest > 0 else "")
