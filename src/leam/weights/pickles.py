"""Unpickle checkpoints without running their code.

Only what is listed here is restored: torch's own functions that build tensors, Python's containers, and inert stand-ins
for what training scripts write beside the weights (NumPy's numbers and arrays, namespaces, configurations, paths).
Nothing that a file names is imported.
"""

from __future__ import annotations

import collections
import datetime as dt
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.serialization import _get_layout


class NotPlain(pickle.UnpicklingError):
    """A file contains more than tensors and plain data; the message names what."""


class Record(dict[Any, Any]):
    """Stands in for a namespace or a configuration: its attributes and items."""

    def __init__(self, *_: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.update(part)


class _DType:
    """Stands in for ``numpy.dtype``, whose own unpickling trusts the file; numbers and text only."""

    def __init__(self, code: str, *_: object) -> None:
        self.plain = np.dtype(code) if np.dtype(code).kind in "biufcSU" else None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if self.plain is not None and state[1] in {"<", ">"}:
            self.plain = self.plain.newbyteorder(state[1])


class _Array:
    """Stands in for ``numpy.ndarray``."""

    def __init__(self, *_: object) -> None:
        self.values: np.ndarray[Any, Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        shape, dtype, is_fortran, data = state[-4:]
        if isinstance(dtype, _DType) and dtype.plain is not None:
            order: Any = "F" if is_fortran else "C"
            self.values = np.frombuffer(_bytes(data), dtype.plain).reshape(shape, order=order)

    def tensor(self) -> Tensor | None:
        """The array as a tensor; None if it does not contain numbers."""
        if self.values is None or self.values.dtype.kind not in "biuf":
            return None
        return torch.from_numpy(self.values.astype(self.values.dtype.newbyteorder("=")))


def tensor_of(value: object) -> Tensor | None:
    """A restored tensor, or NumPy array of numbers; None for anything else."""
    if isinstance(value, _Array):
        return value.tensor()
    return value if isinstance(value, Tensor) else None


def load(path: Path) -> object:
    """What a file that torch wrote contains, tensors on the processor.

    Raises:
        NotPlain: It contains something that is not listed here.
        Exception: It is damaged.
    """
    # With a pickle module of our own, torch does not use its list, which has no place for stand-ins.
    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=_Pickle)


def _scalar(dtype: _DType, data: bytes | str = b"") -> object:
    return None if dtype.plain is None else np.frombuffer(_bytes(data), dtype.plain)[0].item()


def _encode(text: str, _: str = "latin1") -> bytes:
    return text.encode("latin1")


def _bytes(data: bytes | str) -> bytes:
    return data.encode("latin1") if isinstance(data, str) else data


def _joined(*parts: str) -> str:
    return "/".join(parts)


_TORCH = {
    f"torch._utils.{name}": getattr(torch._utils, name)  # noqa: SLF001  the names that files contain
    for name in (
        "_rebuild_parameter",
        "_rebuild_parameter_with_state",
        "_rebuild_qtensor",
        "_rebuild_sparse_tensor",
        "_rebuild_meta_tensor_no_storage",
        "_rebuild_tensor",
        "_rebuild_tensor_v2",
        "_rebuild_tensor_v3",
    )
    if hasattr(torch._utils, name)  # noqa: SLF001
} | {
    "torch._tensor._rebuild_from_type_v2": torch._tensor._rebuild_from_type_v2,  # noqa: SLF001
    "torch.serialization._get_layout": _get_layout,
    "torch.nn.parameter.Parameter": torch.nn.Parameter,
    "torch.Tensor": Tensor,
    "torch.Size": torch.Size,
    "torch.device": torch.device,
}
_BUILTINS = {
    f"{module}.{kind.__name__}": kind
    for module in ("builtins", "__builtin__")
    for kind in (set, frozenset, complex, slice, range, list, dict, tuple, int, float, str, bool)
} | {"__builtin__.xrange": range, "__builtin__.unicode": str, "__builtin__.long": int}
_CONTAINERS = {
    f"collections.{kind.__name__}": kind
    for kind in (
        collections.OrderedDict,
        collections.defaultdict,
        collections.Counter,
        collections.deque,
    )
}
_DATES = {
    f"datetime.{kind.__name__}": kind
    for kind in (dt.date, dt.datetime, dt.time, dt.timedelta, dt.timezone)
}
_NUMPY = {
    f"{package}.{name}": stand_in
    for package in ("numpy.core.multiarray", "numpy._core.multiarray")
    for name, stand_in in (("scalar", _scalar), ("_reconstruct", _Array))
} | {"numpy.dtype": _DType, "numpy.ndarray": _Array, "_codecs.encode": _encode}
_PATHS = {
    f"{module}.{name}": _joined
    for module in ("pathlib", "pathlib._local")
    for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
}
_RECORDS = dict.fromkeys(
    (
        "argparse.Namespace",
        "types.SimpleNamespace",
        "builtins.bytearray",
        "__builtin__.bytearray",
        "builtins.object",
        "__builtin__.object",
        "builtins.Ellipsis",
        "__builtin__.Ellipsis",
        "builtins.NotImplemented",
        "__builtin__.NotImplemented",
        "decimal.Decimal",
        "fractions.Fraction",
        "re._compile",
        "uuid.SafeUUID",
        "uuid.UUID",
        "easydict.EasyDict",
        "yacs.config.CfgNode",
        "addict.addict.Dict",
        "mmcv.utils.config.ConfigDict",
        "mmengine.config.config.ConfigDict",
    ),
    Record,
)
_ALLOWED: dict[str, Any] = _TORCH | _BUILTINS | _CONTAINERS | _DATES | _NUMPY | _PATHS | _RECORDS
# Classes of these packages are restored as records: hyperparameters, callbacks as keys, and random generators.
_RECORDED = (
    *("pytorch_lightning.", "lightning.", "lightning_fabric.", "lightning_utilities."),
    "numpy.random.",
)
_CONSTANTS = (torch.dtype, torch.layout, torch.memory_format, torch.qscheme)
_BUILD: Any = pickle._Unpickler.dispatch[pickle.BUILD[0]]  # noqa: SLF001
_WITH_STATE = (Record, _DType, _Array, collections.OrderedDict, Tensor)


# Python's own implementation: that in C allocates memory as a damaged file says.
class _Unpickler(pickle._Unpickler):  # noqa: SLF001
    stack: list[Any]

    def load_build(self) -> None:
        # State of a class or a function would change it for the whole process.
        if not isinstance(self.stack[-2], _WITH_STATE):
            raise NotPlain(f"the state of {type(self.stack[-2]).__name__}")
        _BUILD(self)

    # Its instructions, with ours for BUILD.
    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,  # noqa: SLF001
        pickle.BUILD[0]: load_build,
    }

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401  a class or a function
        full = f"{module}.{name}"
        if full in _ALLOWED:
            return _ALLOWED[full]
        if module.startswith("numpy.dtypes") and name.endswith("DType"):
            return _DType
        scalar = module == "numpy" and isinstance(getattr(np, name, None), type)
        if scalar or full.startswith(_RECORDED):
            return Record
        if module == "torch" and isinstance(getattr(torch, name, None), _CONSTANTS):
            return getattr(torch, name)
        raise NotPlain(full)


class _Pickle:
    """A pickle module, as torch.load expects it."""

    Unpickler = _Unpickler

    @staticmethod
    def load(stream: Any, **options: Any) -> object:  # noqa: ANN401
        """The next object of a stream."""
        return _Unpickler(stream, **options).load()
