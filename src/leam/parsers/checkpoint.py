"""Weights that cannot be shipped: where a parser looks for them, and how they are read."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import torch
from torch import Tensor

from leam.errors import WeightsError


def weights_of(parser: str, published: str) -> Path:
    """The weights of a parser, from the file that the environment variable ``LEAM_<PARSER>`` names.

    Args:
        parser: The parser's name.
        published: Where a user finds such a file, for the error message.

    Raises:
        WeightsError: The variable is not set, or names no file.
    """
    variable = f"LEAM_{parser.upper()}"
    named = os.environ.get(variable)
    if not named:
        raise WeightsError(f"{parser}: set {variable} to its weights file ({published})")
    path = Path(named)
    if not path.exists():
        raise WeightsError(f"{parser}: {path}, named by {variable}, does not exist")
    return path


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a PyTorch checkpoint, unwrapped; no code in it is run.

    Raises:
        WeightsError: The file cannot be read, or holds no tensors.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path}: not a PyTorch checkpoint of plain tensors ({line})") from None
    for wrapper in ("state_dict", "model", "model_state_dict"):
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict):
        raise WeightsError(f"{path}: holds no state dict")
    state = {str(name).removeprefix("module."): value for name, value in loaded.items()}
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors")
    return tensors
