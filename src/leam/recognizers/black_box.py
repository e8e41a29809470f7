"""Recognizers that can only be called: an API, a program or any function, which gives embeddings or only scores."""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from leam.devices import CPU
from leam.errors import CardError, InputError, ModelError, first_line
from leam.progress import Progress, silent
from leam.recognizers.card import Card, explain_validation
from leam.recognizers.catalogue import BLACK_BOX
from leam.recognizers.chips import Chips, Layout, Range
from leam.recognizers.recognizer import Recognizer

Pictures = NDArray[np.uint8]
"""Aligned faces, RGB ``(n, h, w, 3)`` uint8."""
Embed = Callable[[Pictures], Any]
"""From pictures to embeddings ``(n, D)``."""
Score = Callable[[Pictures, Pictures], Any]
"""From pictures and those that they are compared with to similarities ``(n,)``, larger for more similar faces."""

Returns = Literal["embeddings", "scores"]
RETURNS: tuple[Returns, ...] = get_args(Returns)

_LONGEST_NAME = 80
_OPTIONS = ("function", "returns", "batch")


class BlackBox(Recognizer):
    """A recognizer that can be called but not looked into: no layers and no gradients.

    Every answer is kept, so that the function is not called twice with the same picture (or pair of pictures). Only
    methods that need no gradients can explain it; see :mod:`leam.explain.methods`.

    Args:
        embed: From pictures, RGB ``(n, h, w, 3)`` uint8, to embeddings ``(n, D)``.
        score: From two batches of such pictures to one similarity for each pair, ``(n,)``. Give ``embed`` or ``score``.
        card: Input size, crop, similarity and threshold. ``mean``, ``std`` and ``channels`` are not used: the function
            gets RGB values from 0 to 255.
        budget: Largest number of calls, counted in pictures for ``embed`` and in pairs for ``score``; None for any
            number.
        cache: An SQLite file that keeps the answers, created if missing; by default they are kept in memory. Answers
            are found by the name, the function's name and the pictures' bytes: use one file or name for each function.
        batch_size: Pictures in one call of the function. Answers are kept as soon as their call returns.
        progress: Called with the number of calls and the budget.
        fields: Fields of a :class:`Card`, instead of ``card``; the name is by default the function's.

    Raises:
        InputError: Not exactly one of ``embed`` and ``score`` is given, or both a card and fields.
        CardError: A field is invalid.
        ModelError: The cache cannot be opened.

    Example:
        >>> box = leam.BlackBox(embed=my_api, input_size=(160, 160), threshold=0.4)
    """

    def __init__(
        self,
        *,
        embed: Embed | None = None,
        score: Score | None = None,
        card: Card | None = None,
        budget: int | None = None,
        cache: str | Path | None = None,
        batch_size: int = 1,
        progress: Progress = silent,
        **fields: Any,  # noqa: ANN401  the fields of a card
    ) -> None:
        function = embed or score
        if function is None or (embed and score):
            raise InputError("BlackBox: give either embed or score")
        if card and fields:
            raise InputError(f"BlackBox: give either card or {', '.join(fields)}")
        self.function = _name_of(function)
        card = card or _card_of(self.function, fields)
        super().__init__(_Opaque(card.name), card, batch_size=batch_size)
        self._function: Callable[..., Any] = function
        self.returns: Returns = "embeddings" if embed else "scores"
        self.progress, self.budget, self.calls = progress, budget, 0
        self.cache = cache

    @classmethod
    def of_card(
        cls, card: Card, progress: Progress = silent, batch_size: int | None = None
    ) -> BlackBox:
        """The black box of a card whose ``options.function`` is ``module:function``.

        ``options.returns`` is ``embeddings`` (the default) or ``scores``; ``options.batch`` is the number of pictures
        in one call, unless a batch size is given. The module is imported from the installed packages or the working
        directory.

        Raises:
            CardError: An option is missing, unknown or invalid.
            ModelError: The function cannot be imported.
        """
        for option in card.options:
            if option not in _OPTIONS:
                raise CardError(
                    f"{card.name}: options.{option} is not known; available: {', '.join(_OPTIONS)}"
                )
        name, returns = card.options.get("function"), card.options.get("returns", "embeddings")
        if not isinstance(name, str):
            raise CardError(f'{card.name}: options.function is missing; give "module:function"')
        if returns not in RETURNS:
            raise CardError(
                f"{card.name}: options.returns is {returns!r}; available: {', '.join(RETURNS)}"
            )
        function = imported(name)
        box = cls(
            embed=function if returns == "embeddings" else None,
            score=function if returns == "scores" else None,
            card=card,
            batch_size=batch_size or int(card.number("batch", 1)),
            progress=progress,
        )
        box.function = name
        return box

    @property
    def cache(self) -> str | Path | None:
        """The SQLite file that keeps the answers; None for memory."""
        return self._path

    @cache.setter
    def cache(self, path: str | Path | None) -> None:
        self._path = path
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            # The lock of recognizers admits one thread at a time.
            self._answers = sqlite3.connect(path or ":memory:", check_same_thread=False)
            self._answers.execute(
                "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, answer BLOB)"
            )
        except sqlite3.Error as error:
            raise ModelError(
                f"{path}: cannot keep answers ({first_line(error)}); remove it"
            ) from None

    @property
    def sha256(self) -> str:
        """SHA-256 of the function's name and, if known, its source. A service behind it may change without a trace."""
        try:
            source = inspect.getsource(self._function)
        except (OSError, TypeError):
            source = ""
        return hashlib.sha256(f"{self.function} {self.returns}\n{source}".encode()).hexdigest()

    def to(self, device: torch.device | str) -> BlackBox:  # noqa: ARG002  a function runs where it runs
        """The black box itself: its answers are on the processor, wherever the function runs."""
        super().to(CPU)
        return self

    def embed(
        self,
        chips: Chips,
        batch_size: int | None = None,
        *,
        range: Range | None = None,  # noqa: A002
        layout: Layout | None = None,
    ) -> Tensor:
        """Embeddings ``(n, D)`` float32 of aligned faces ``(n, h, w, 3)``; see :meth:`Recognizer.embed`.

        Raises:
            ModelError: The black box gives only scores, the budget is used up, or the function fails or returns
                something else than embeddings.
        """
        if self.returns == "scores":
            raise ModelError(
                f"{self.name}: gives scores of two pictures, not embeddings; use leam explain --with, or another "
                "recognizer"
            )
        return self._ask([_bytes_of(self.as_chips(chips, range=range, layout=layout))], batch_size)

    def compare(
        self,
        chips: Chips,
        mates: Chips,
        *,
        range: Range | None = None,  # noqa: A002
    ) -> Tensor:
        """Similarities ``(n,)`` of aligned faces ``(n, h, w, 3)`` with others, one for each.

        Args:
            chips: The faces.
            mates: What they are compared with.
            range: The values of black and white in ``chips``, as for :meth:`leam.Recognizer.preprocess`.

        Raises:
            ModelError: As for :meth:`embed`.
        """
        pair = [_bytes_of(one) for one in (self.as_chips(chips, range=range), self.as_chips(mates))]
        if self.returns == "embeddings":
            return self.similarity(*(self._ask([one]) for one in pair))
        return self._ask(pair)[:, 0]

    def _ask(self, given: Sequence[Pictures], batch_size: int | None = None) -> Tensor:
        """The answers ``(n, D)`` to requests of one or two pictures, each asked once."""
        keys = [self._key(*request) for request in zip(*given, strict=True)]
        if not keys:
            return torch.empty(0, self.card.embedding_size or 0)
        answers = {key: self._known(key) for key in keys}
        missing = [i for i, key in enumerate(keys) if answers[key] is None and key not in keys[:i]]
        if self.budget is not None and self.calls + len(missing) > self.budget:
            raise ModelError(
                f"{self.name}: {len(missing)} more calls are needed, but {self.budget - self.calls} of the budget of "
                f"{self.budget} are left; raise the budget, or explain fewer faces"
            )
        size = batch_size or self.batch_size or 1
        for start in range(0, len(missing), size):
            rows = missing[start : start + size]
            found = self._call([one[rows] for one in given])
            self.calls += len(rows)
            with self._answers:
                for row, answer in zip(rows, found, strict=True):
                    answers[keys[row]] = answer
                    stored = (keys[row], answer.tobytes())
                    self._answers.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", stored)
            self.progress("calls", self.calls, self.budget)
        lengths = {len(answer) for answer in answers.values() if answer is not None}
        if len(lengths) > 1:
            raise ModelError(
                f"{self.name}: {self.function} returned embeddings of lengths {sorted(lengths)}"
            )
        rows_of = [answers[key] for key in keys]
        return torch.from_numpy(np.array(rows_of, dtype=np.float32).reshape(len(keys), -1))

    def _key(self, *pictures: Pictures) -> bytes:
        digest = hashlib.sha256(
            f"{self.name} {self.function} {self.returns} {pictures[0].shape}".encode()
        )
        for picture in pictures:
            digest.update(np.ascontiguousarray(picture).data)
        return digest.digest()

    def _known(self, key: bytes) -> NDArray[np.float32] | None:
        found = self._answers.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        return np.frombuffer(found[0], dtype=np.float32) if found else None

    def _call(self, given: Sequence[Pictures]) -> NDArray[np.float32]:
        """The function's answers ``(n, D)``; those of scores have one column."""
        try:
            returned = self._function(*given)
            found = np.asarray(
                returned.detach().cpu() if isinstance(returned, Tensor) else returned, np.float32
            )
        except Exception as error:
            # The border to the user's function: any exception ends the command with one line.
            raise ModelError(
                f"{self.name}: {self.function} failed after {self.calls} calls: {type(error).__name__}: "
                f"{first_line(error)}{self._expected if isinstance(error, TypeError) else ''}{self._kept}"
            ) from error
        scores, count = self.returns == "scores", len(given[0])
        if found.ndim != (1 if scores else 2) or len(found) != count or not found.size:
            shape = f"({count},)" if scores else f"({count}, D)"
            raise ModelError(
                f"{self.name}: {self.function} returned an array of shape {found.shape}, "
                f"expected {self.returns} of shape {shape}{self._expected}"
            )
        if not np.isfinite(found).all():
            raise ModelError(
                f"{self.name}: {self.function} returned {self.returns} that are not finite"
            )
        return np.ascontiguousarray(found.reshape(count, -1))

    @property
    def _expected(self) -> str:
        """How to state that the function is of the other kind."""
        if self.returns == "scores":
            return "; if it gets one batch of pictures and returns embeddings, leave out --returns scores"
        return (
            "; if it compares the pictures of two batches, add --returns scores (in Python: score=)"
        )

    @property
    def _kept(self) -> str:
        """What becomes of the answers so far."""
        if self.cache is None or not self.calls:
            return ""
        return f"; {self.cache} keeps the answers, run the same command again to go on"


class _Opaque(nn.Module):
    """Stands for the network that is not known."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name_of_box = name

    def forward(self, _: Tensor) -> Tensor:
        raise ModelError(
            f"{self._name_of_box}: a black box has no layers and no gradients; use the method hierarchical, occlusion "
            "or corrrise"
        )


def imported(name: str) -> Callable[..., Any]:
    """The function ``module:function``, of an installed package or of a module in the working directory.

    Raises:
        InputError: The name has another form.
        ModelError: There is no such function, or its module cannot be imported.
    """
    module, colon, path = name.partition(":")
    if not (module and colon and path):
        raise InputError(f"{name}: expected module:function, such as my_api:embed")
    if (here := os.getcwd()) not in sys.path:  # noqa: PTH109  sys.path holds strings
        sys.path.insert(0, here)
    try:
        found = import_module(module)
    except Exception as error:
        raise ModelError(
            f"{name}: the module {module} cannot be imported ({type(error).__name__}: {first_line(error)}); "
            "install it, or run from the folder that contains it"
        ) from error
    function: object = found
    for part in path.split("."):
        function = getattr(function, part, None)
    if not callable(function):
        raise ModelError(f"{name}: the module {module} has no function {path}")
    return function


def _card_of(function: str, fields: dict[str, Any]) -> Card:
    """A card with these fields, by default named after the function."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", ".", function)[-_LONGEST_NAME:].strip("._-")
    try:
        return Card(**{"name": name or BLACK_BOX, "architecture": BLACK_BOX, **fields})
    except ValidationError as error:
        raise CardError(f"BlackBox: {explain_validation(error)}") from None


def _bytes_of(chips: Tensor) -> Pictures:
    """Chips as uint8; fractions are rounded."""
    if chips.is_floating_point():
        chips = chips.round().clamp(0, 255)
    return chips.to("cpu", torch.uint8).numpy()


def _name_of(function: Callable[..., Any]) -> str:
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', None) or 'function'}:{name}"
