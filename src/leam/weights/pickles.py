"""Unpickle checkpoints without running their code.

Only what is listed here is restored: torch's own functions that build tensors, Python's lists and dictionaries, and
inert stand-ins for what training scripts write beside the weights (NumPy's numbers and arrays, namespaces,
configurations, paths, dates). Nothing that a file names is imported, and what it copies is counted: a few instructions
may double a text or a list again and again.
"""

from __future__ import annotations

import collections
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.serialization import _get_layout

from leam.limits import memory_limit, readable


class NotPlain(pickle.UnpicklingError):
    """A file contains more than tensors and plain data; the message names what."""


# Most elements of a key of a dictionary: tuples that share others take exponential time to hash.
_MOST_IN_KEY = 1000
_POINTER_BYTES = 8


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


def _ignored(*_: object) -> None:
    """Stands in for a number, a set, a range, a text, a path or a date, which weights do not consist of."""


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
    for kind in (list, dict, tuple)
}
_CONTAINERS = {
    f"collections.{kind.__name__}": kind
    for kind in (
        collections.OrderedDict,
        collections.defaultdict,
        collections.deque,
    )
}
_NUMPY = {
    f"{package}.{name}": stand_in
    for package in ("numpy.core.multiarray", "numpy._core.multiarray")
    for name, stand_in in (("scalar", _scalar), ("_reconstruct", _Array))
} | {"numpy.dtype": _DType, "numpy.ndarray": _Array, "_codecs.encode": _encode}
_IGNORED: dict[str, Any] = {
    f"{module}.{name}": _ignored
    for modules, names in (
        (
            ("builtins", "__builtin__"),
            "bool complex float frozenset int long range set slice str unicode xrange",
        ),
        (("collections",), "Counter"),
        (("datetime",), "date datetime time timedelta timezone"),
        (("pathlib", "pathlib._local"), "PosixPath PurePosixPath PureWindowsPath WindowsPath"),
    )
    for module in modules
    for name in names.split()
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
_ALLOWED: dict[str, Any] = _TORCH | _BUILTINS | _CONTAINERS | _NUMPY | _IGNORED | _RECORDS
# Classes of these packages are restored as records: hyperparameters, callbacks as keys, and random generators.
_RECORDED = (
    *("pytorch_lightning.", "lightning.", "lightning_fabric.", "lightning_utilities."),
    "numpy.random.",
)
_CONSTANTS = (torch.dtype, torch.layout, torch.memory_format, torch.qscheme)
_INSTRUCTIONS: dict[int, Any] = pickle._Unpickler.dispatch  # noqa: SLF001
_WITH_STATE = (Record, _DType, _Array, collections.OrderedDict, Tensor)


# Python's own implementation: that in C allocates memory as a damaged file says.
class _Unpickler(pickle._Unpickler):  # noqa: SLF001
    stack: list[Any]
    metastack: list[list[Any]]
    copied = 0

    def load_build(self) -> None:
        # State of a class or a function would change it for the whole process.
        thing, state = self.stack[-2:]
        if not isinstance(thing, _WITH_STATE):
            raise NotPlain(f"the state of {type(thing).__name__}")
        if isinstance(thing, _Array):
            self._count(len(_bytes(state[-1])) if isinstance(state[-1], bytes | str) else 0)
        _INSTRUCTIONS[pickle.BUILD[0]](self)

    def load_reduce(self) -> None:
        self._check_call(*self.stack[-2:])
        _INSTRUCTIONS[pickle.REDUCE[0]](self)

    def load_newobj(self) -> None:
        self._check_call(*self.stack[-2:])
        _INSTRUCTIONS[pickle.NEWOBJ[0]](self)

    def load_newobj_ex(self) -> None:
        self._check_call(*self.stack[-3:-1])
        _INSTRUCTIONS[pickle.NEWOBJ_EX[0]](self)

    def load_setitem(self) -> None:
        _check_keys(self.stack[-2:-1])
        _INSTRUCTIONS[pickle.SETITEM[0]](self)

    def load_setitems(self) -> None:
        _check_keys(self.stack[::2])
        _INSTRUCTIONS[pickle.SETITEMS[0]](self)

    def load_dict(self) -> None:
        _check_keys(self.stack[::2])
        _INSTRUCTIONS[pickle.DICT[0]](self)

    def load_additems(self) -> None:
        _check_keys(self.stack)
        _INSTRUCTIONS[pickle.ADDITEMS[0]](self)

    def load_frozenset(self) -> None:
        _check_keys(self.stack)
        _INSTRUCTIONS[pickle.FROZENSET[0]](self)

    def load_bytearray8(self) -> None:
        # Python's own fills as much memory as the file says before it reads; the same content as bytes is read first.
        _INSTRUCTIONS[pickle.BINBYTES8[0]](self)
        self.stack.append(bytearray(self.stack.pop()))

    def _check_call(self, function: Any, arguments: Any) -> None:  # noqa: ANN401
        """Refuse tensors without values, and count what a call may copy."""
        if function is Tensor:
            raise NotPlain("a call of torch.Tensor")
        for value in arguments:
            if isinstance(value, str | bytes | list | tuple | dict):
                self._count(_POINTER_BYTES * len(value))
            if isinstance(value, list | tuple):
                _check_keys([pair[0] for pair in value if isinstance(pair, list | tuple) and pair])

    def _count(self, size: int) -> None:
        self.copied += size
        if self.copied > memory_limit():
            raise ValueError(
                f"its objects need more than {readable(memory_limit())} of memory; "
                "raise the limit with --memory-limit"
            )

    # Its instructions, with ours for some.
    dispatch: ClassVar[dict[int, Any]] = {
        **_INSTRUCTIONS,
        pickle.BUILD[0]: load_build,
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.DICT[0]: load_dict,
        pickle.ADDITEMS[0]: load_additems,
        pickle.FROZENSET[0]: load_frozenset,
        pickle.BYTEARRAY8[0]: load_bytearray8,
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


def _check_keys(keys: Sequence[object]) -> None:
    """Refuse keys whose hash takes long."""
    for key in keys:
        inside, count = [key], 0
        while inside:
            each = inside.pop()
            count += 1
            if count > _MOST_IN_KEY:
                raise NotPlain("a key of a dictionary of many values")
            if isinstance(each, tuple | frozenset):
                inside.extend(each)


class _Pickle:
    """A pickle module, as torch.load expects it."""

    Unpickler = _Unpickler

    @staticmethod
    def load(stream: Any, **options: Any) -> object:  # noqa: ANN401
        """The next object of a stream."""
        return _Unpickler(stream, **options).load()
