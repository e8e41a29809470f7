"""Read a checkpoint without running code from it, and fill a network with it, strictly."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeGuard

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from leam.errors import WeightsError, first_line

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
    except Exception as error:  # noqa: BLE001  decoders of hostile files raise nearly anything
        raise WeightsError(f"{path}: not a readable checkpoint ({first_line(error)})") from None
    state = max(_states(loaded, _DEEPEST), key=len, default={})
    if not state:
        raise WeightsError(f"{path}: holds no state dict")
    return {name: value for name, value in state.items() if not name.endswith(_COUNTER)}


def without_prefix(state: Mapping[str, Tensor], marker: str) -> State:
    """A network's own part of a state dict, without what stands before its names.

    A checkpoint may hold the wrapper that the network was trained in, such as its head beside
    ``module.backbone.``: what does not share the network's prefix is left out.

    Args:
        state: Tensors by name.
        marker: The name of a tensor that tells the network.
    """
    found = [name for name in state if name == marker or name.endswith(f".{marker}")]
    prefix = min(found, key=len, default=marker).removesuffix(marker)
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }


def fill(
    module: nn.Module, state: Mapping[str, Tensor], path: Path, heads: Sequence[str] = ()
) -> None:
    """Fill a network with a state dict; every name must find its place.

    Args:
        module: The network.
        state: Its tensors by name.
        path: The file they came from, for messages.
        heads: First parts of names that serve training only and are left out.

    Raises:
        WeightsError: A name is missing or unexpected, or a tensor has another shape.
    """
    kind = f"{path}: not a checkpoint of {type(module).__name__}"
    own = module.state_dict()
    expected = {name: own[name] for name in own if not name.endswith(_COUNTER)}
    missing = [name for name in expected if name not in state]
    extra = [name for name in state if name not in own and name.partition(".")[0] not in heads]
    if missing or extra:
        named = (("missing", missing), ("unexpected", extra))
        raise WeightsError(
            f"{kind}: " + "; ".join(f"{what} {_some(names)}" for what, names in named if names)
        )
    for name, value in expected.items():
        if state[name].shape != value.shape:
            shapes = f"{tuple(state[name].shape)}, not {tuple(value.shape)}"
            raise WeightsError(f"{kind}: {name} has shape {shapes}")
    module.load_state_dict(own | without_traces({name: state[name].float() for name in expected}))
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
    with warnings.catch_warnings():
        # About pickle protocols, which concern nobody here.
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _states(loaded: object, depth: int) -> list[State]:
    """Every dictionary of named tensors in a nest of dictionaries, without what else it holds."""
    if not isinstance(loaded, Mapping) or depth == 0:
        return []
    own = {str(name): value for name, value in loaded.items() if _is_plain(value)}
    return [own, *(state for value in loaded.values() for state in _states(value, depth - 1))]


def _is_plain(value: object) -> TypeGuard[Tensor]:
    """Whether a value is a tensor of numbers that can fill a parameter or a buffer."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_complex()
        and not value.is_quantized
    )


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
