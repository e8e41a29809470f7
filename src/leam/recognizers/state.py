"""Read a checkpoint without running code from it, and fill a network with it, strictly."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from leam.errors import WeightsError

State = dict[str, Tensor]
"""A network's parameters and buffers by name."""

# Channels that training gave up hold values like 1e-39. They change nothing, but processors handle
# numbers this small a hundred times slower than others.
_TRACE = 1e-30
_DEEPEST = 4
# Batches seen in training: kept by some checkpoints, used by none.
_COUNTER = "num_batches_tracked"
_MOST_NAMED = 6


def read_state(path: Path) -> State:
    """The tensors of a ``.safetensors`` file or of a checkpoint that torch saved.

    In nested dictionaries (epoch, optimizer, ``state_dict`` and the like) the one with the most
    tensors is taken.

    Raises:
        WeightsError: The file is damaged, holds no tensors, or holds objects that only running its
            code could restore.
    """
    try:
        loaded = load_file(path) if path.suffix == ".safetensors" else _torch_load(path)
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{path}: holds more than tensors, and opening it could run code; "
            "where you trust it, save its state_dict anew"
        ) from None
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a readable checkpoint ({_first_line(error)})") from None
    state = max(_states(loaded, _DEEPEST), key=len, default={})
    if not state:
        raise WeightsError(f"{path}: holds no state dict")
    return {name: value for name, value in state.items() if not name.endswith(_COUNTER)}


def fill(
    module: nn.Module,
    state: Mapping[str, Tensor],
    path: Path,
    *,
    heads: Sequence[str] = (),
    owner: str = "",
) -> None:
    """Fill a network with a state dict; every key must find its place.

    A prefix that all of the network's keys share in the file (``module.``, ``backbone.``) is
    removed.

    Args:
        module: The network.
        state: Its tensors by name.
        path: The file they came from, for messages.
        heads: Patterns (regular expressions) of keys, after the prefix is removed, that belong to
            training only.
        owner: Name of the network, for messages.

    Raises:
        WeightsError: A key is missing or unexpected, or a tensor has another shape; the message
            names it.
    """
    expected = {
        name: value for name, value in module.state_dict().items() if not name.endswith(_COUNTER)
    }
    prefix = _prefix(expected, state)
    found = {name.removeprefix(prefix): value for name, value in state.items()}
    missing = [name for name in expected if name not in found]
    extra = [
        name
        for name in found
        if name not in expected and not any(re.match(head, name) for head in heads)
    ]
    kind = owner or type(module).__name__
    if missing or extra:
        parts = [
            f"{label} {_some(names)}"
            for label, names in (("missing", missing), ("unexpected", extra))
            if names
        ]
        raise WeightsError(f"{path}: not a checkpoint of {kind}: {'; '.join(parts)}")
    for name, value in expected.items():
        if found[name].shape != value.shape:
            shapes = f"{tuple(found[name].shape)}, not {tuple(value.shape)}"
            raise WeightsError(f"{path}: not a checkpoint of {kind}: {name} has shape {shapes}")
    kept = {name: found[name].float() for name in expected}
    module.load_state_dict(module.state_dict() | without_traces(kept))
    module.eval()


def without_traces(state: Mapping[str, Tensor]) -> State:
    """A state dict with numbers too small to matter set to zero, except variances, which divide."""
    return {
        name: value
        if name.endswith("running_var") or not value.is_floating_point()
        else value.masked_fill(value.abs() < _TRACE, 0)
        for name, value in state.items()
    }


def _torch_load(path: Path) -> object:
    return torch.load(path, map_location="cpu", weights_only=True)


def _states(loaded: object, depth: int) -> list[State]:
    """Every dictionary of named tensors in a nest of dictionaries, without what else it holds."""
    if not isinstance(loaded, Mapping) or depth == 0:
        return []
    own = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
    return [own, *(state for value in loaded.values() for state in _states(value, depth - 1))]


def _prefix(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """What stands before most of the network's keys in the file."""
    first = next(iter(expected))
    candidates = {
        name.removesuffix(first) for name in state if name == first or name.endswith(f".{first}")
    }
    return max(
        sorted(candidates), key=lambda p: sum(p + name in state for name in expected), default=""
    )


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
