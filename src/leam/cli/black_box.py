"""``leam explain --black-box``: a function of the user's, its answers and its number of calls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from leam.cli.console import note
from leam.errors import InputError

if TYPE_CHECKING:
    from leam.progress import Progress
    from leam.recognizers.black_box import BlackBox
    from leam.recognizers.recognizer import Recognizer

CACHE = "answers.sqlite"
"""The file in the output folder that keeps the answers."""
CALLS = 125
"""Default number of calls for one map."""
METHOD = "hierarchical"
"""Default method."""


def check_black_box(function: str | None, model: str | None, returns: str | None) -> None:
    """Refuse options that do not go together.

    Raises:
        InputError: They do not, or the function cannot return that.
    """
    if function is None:
        if returns is not None:
            raise InputError(f"--returns {returns}: add --black-box, or leave it out")
        return
    if model is not None:
        raise InputError(
            f"--black-box {function}: leave out --model, or name a card of a black box there"
        )
    if returns not in {None, "embeddings", "scores"}:
        raise InputError(f"--returns {returns}: available: embeddings, scores")


def load_black_box(function: str, returns: str | None, batch_size: int | None) -> BlackBox:
    """The black box of a function ``module:function``, with the default input size and crop.

    Raises:
        LeamError: The function cannot be imported.
    """
    from leam.recognizers.black_box import BlackBox
    from leam.recognizers.card import Card
    from leam.recognizers.catalogue import BLACK_BOX

    name = function.replace(":", ".").strip("._-")
    options = {"function": function, "returns": returns or "embeddings"}
    card = Card(name=name, architecture=BLACK_BOX, options=options)
    return BlackBox.of_card(card, batch_size=batch_size)


def keep_answers(recognizer: Recognizer, folder: Path, progress: Progress) -> None:
    """Keep a black box's answers in the output folder, and show its calls."""
    from leam.recognizers.black_box import BlackBox

    if isinstance(recognizer, BlackBox):
        recognizer.cache, recognizer.progress = folder / CACHE, progress


def limit_calls(recognizer: Recognizer, calls: int | None, maps: int, others: int = 0) -> None:
    """Limit a black box's calls to those of some maps and of further pictures, and say how many these are."""
    from leam.recognizers.black_box import BlackBox

    if isinstance(recognizer, BlackBox) and calls is not None:
        recognizer.budget = calls * maps + others
        note(f"at most {recognizer.budget} calls of {recognizer.function}")
