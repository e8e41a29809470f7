"""What fuzz tests share: damage to files, and what must hold whatever is damaged.

``LEAM_FUZZ=1000 pytest tests/fuzz`` tries a thousand random examples of each. Without it they are the same few every
time, so that a failure means a change. ``scripts/fuzz.py`` runs many and counts them by kind.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from leam.errors import LeamError

SECONDS = 20
EXAMPLES = os.environ.get("LEAM_FUZZ")
FUZZ = settings(
    max_examples=int(EXAMPLES or 40),
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


class Hang(BaseException):
    """It took too long."""


class Tally(Counter[str]):
    """What became of the inputs of one test: ``accepted``, ``refused``, ``traceback`` or ``hang``.

    Attributes:
        slowest: The longest time of one input, in seconds.
    """

    slowest = 0.0

    def add(self, outcome: str, seconds: float) -> None:
        self[outcome] += 1
        self.slowest = max(self.slowest, seconds)


TALLIES: dict[str, Tally] = {}


@contextmanager
def tallied() -> Iterator[None]:
    """Count what becomes of one input, by the name of the test that tries it."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").removesuffix(" (call)")
    start, outcome = time.monotonic(), "traceback"
    try:
        yield
        outcome = "accepted"
    except LeamError:
        outcome = "refused"
        raise
    except Hang:
        outcome = "hang"
        raise
    finally:
        TALLIES.setdefault(test, Tally()).add(outcome, time.monotonic() - start)


@contextmanager
def endures(seconds: int = SECONDS) -> Iterator[None]:
    """What is inside succeeds, or fails with one line, and soon."""

    def stop(*_: object) -> None:
        raise Hang(f"not done after {seconds} s")

    alarm = hasattr(signal, "SIGALRM")  # not on Windows
    if alarm:
        before = signal.signal(signal.SIGALRM, stop)
        signal.alarm(seconds)
    said = "one line"
    try:
        with tallied():
            yield
    except LeamError as error:
        said = str(error)
    finally:
        if alarm:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
    assert said
    assert "\n" not in said


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file that was cut, overwritten here and there, stretched, or repeated in part."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["cut", "overwrite", "flip", "insert", "repeat", "zero"]))
        at = draw(st.integers(0, max(0, len(data) - 1)))
        size = draw(st.integers(1, 64))
        if kind == "cut":
            del data[at:]
        elif kind == "overwrite":
            some = draw(st.binary(min_size=1, max_size=16))
            data[at : at + len(some)] = some
        elif kind == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "insert":
            data[at:at] = draw(st.sampled_from([b"\0" * size, b"\xff" * size, b"A" * size]))
        elif kind == "repeat":
            data[at:at] = data[at : at + size] * draw(st.integers(1, 50))
        elif kind == "zero":
            data[at : at + size] = bytes(len(data[at : at + size]))
    return bytes(data)


def everything_in(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, to see that nothing outside was touched."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
