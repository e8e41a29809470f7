"""Read a checkpoint without running code from it, and load it into a network strictly."""

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

# Channels that are unused after training contain values like 1e-39. They do not affect the output, but processors
# compute a hundred times slower with numbers this small.
_TRACE = 1e-30
_MAX_DEPTH = 4
# The number of training batches: stored in some checkpoints, used by no network.
_COUNTER = "num_batches_tracked"
_MAX_NAMED = 6


def read_state(path: Path) -> State:
    """The tensors of a ``.safetensors`` file or of a checkpoint that torch saved.

    Of nested dictionaries (epoch, optimizer, ``state_dict``, ...) the one with the most tensors is returned.

    Raises:
        WeightsError: The file is damaged, contains no tensors, or contains objects that could only be restored by
            running
            its code.
    """
    try:
        loaded = load_file(path) if path.suffix == ".safetensors" else _torch_load(path)
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{path}: contains more than tensors, and opening it could run code; "
            "if you trust it, load it yourself and save its state_dict"
        ) from None
    except Exception as error:  # noqa: BLE001  decoders of damaged files may raise anything
        raise WeightsError(f"{path}: not a readable checkpoint ({first_line(error)})") from None
    state = max(_states(loaded, _MAX_DEPTH), key=len, default={})
    if not state:
        raise WeightsError(f"{path}: contains no state dict")
    return {name: value for name, value in state.items() if not name.endswith(_COUNTER)}


def without_prefix(state: Mapping[str, Tensor], marker: str) -> State:
    """The part of a state dict that belongs to a network, without the common prefix of its names.

    A checkpoint may contain the network inside a wrapper, for example ``module.backbone.`` beside a training head;
    tensors without the network's prefix are dropped.

    Args:
        state: Tensors by name.
        marker: The name of a tensor that identifies the network.
    """
    found = [name for name in state if name == marker or name.endswith(f".{marker}")]
    prefix = min(found, key=len, default=marker).removesuffix(marker)
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }


def fill(
    module: nn.Module, state: Mapping[str, Tensor], path: Path, heads: Sequence[str] = ()
) -> None:
    """Load a state dict into a network; all names and shapes must match.

    Args:
        module: The network.
        state: Tensors by name.
        path: The file that they come from, for messages.
        heads: First parts of names that are used in training only and are ignored.

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
    """A state dict with negligibly small numbers set to zero, except in variances, which are divisors."""
    return {
        name: value
        if name.endswith("running_var") or not value.is_floating_point()
        else value.masked_fill(value.abs() < _TRACE, 0)
        for name, value in state.items()
    }


def _torch_load(path: Path) -> object:
    with warnings.catch_warnings():
        # The warnings are about pickle protocols and do not concern the user.
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _states(loaded: object, depth: int) -> list[State]:
    """The named tensors of every dictionary in nested dictionaries."""
    if not isinstance(loaded, Mapping) or depth == 0:
        return []
    own = {str(name): value for name, value in loaded.items() if _is_plain(value)}
    return [own, *(state for value in loaded.values() for state in _states(value, depth - 1))]


def _is_plain(value: object) -> TypeGuard[Tensor]:
    """Whether a value is a tensor that can be loaded into a parameter or a buffer."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_complex()
        and not value.is_quantized
    )


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")
