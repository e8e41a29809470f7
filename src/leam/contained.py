"""Run a function on a file from others in a helper process, so that a crash or a bomb ends the helper only.

Decoders written in C and Rust abort, print on standard error, and need far more memory than the header of a file says.
The helper has a memory limit (on Linux, the only system that enforces one), a time limit, and no standard error. It is
started on first use, is kept for the next calls, and ends with this process.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event, Lock, Timer
from typing import IO, Any

from leam import errors
from leam.errors import LeamError, first_line
from leam.limits import readable

SECONDS = 60.0
"""How long one call may take."""

PICTURE_MEMORY = 450_000_000
"""Bytes for the decoder of a picture, its input and its output."""

_START = "import sys; sys.path[:] = sys.argv[1:]; from leam.contained import serve; serve()"
# One thread each: their stacks and buffers count as memory.
_SINGLE = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FFMPEG_THREADS", "POLARS_MAX_THREADS"), "1"
)


class ContainedError(Exception):
    """The function failed, crashed, or took too much memory or time; the message is one line without a file name."""


class _Helper:
    """The helper process of this process."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.process = subprocess.Popen(  # noqa: S603  this interpreter
            [sys.executable, "-c", _START, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_SINGLE, "MALLOC_ARENA_MAX": "1"},
        )

    def ask(self, question: dict[str, Any]) -> tuple[dict[str, Any], bytearray] | None:
        """The answer and its data; None if the helper ended without one."""
        send, receive = self.process.stdin, self.process.stdout
        if send is None or receive is None:
            return None
        try:
            send.write(json.dumps(question).encode() + b"\n")
            send.flush()
            answer = json.loads(receive.readline() or b"null")
            if answer is None:
                return None
            data = bytearray(answer["size"])
            complete = _read_into(receive, data)
        except (OSError, ValueError):
            return None
        return (answer, data) if complete else None

    def stop(self, late: Event) -> None:
        """End a call that takes too long."""
        late.set()
        self.process.kill()

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    continue


_LOCK = Lock()
_helper: _Helper | None = None


def contained(
    function: str, *arguments: object, limit: int, seconds: float = SECONDS
) -> tuple[Any, bytearray]:
    """Call a function in the helper process.

    Args:
        function: ``module:name``. It returns a JSON value and bytes.
        arguments: JSON values.
        limit: Bytes of memory that the helper may have.
        seconds: Time limit.

    Returns:
        What the function returned.

    Raises:
        LeamError: The function raised it.
        ContainedError: The function raised anything else, crashed, or needs too much memory or time.
    """
    global _helper  # noqa: PLW0603  one helper per process
    question = {"function": function, "arguments": arguments, "limit": limit, "folder": _here()}
    with _LOCK:
        # A forked process shares the pipes of its parent, whose helper it must not use.
        if _helper is None or _helper.owner != os.getpid() or _helper.process.poll() is not None:
            _helper = _Helper()
        helper = _helper
        late = Event()
        timer = Timer(seconds, helper.stop, [late])
        timer.daemon = True
        timer.start()
        found = None
        try:
            found = helper.ask(question)
        finally:
            timer.cancel()
            # A helper that was interrupted or has failed would give the next call this call's answer.
            if found is None or found[0]["failed"]:
                helper.close()
                _helper = None
    if found is None:
        why = f"takes more than {seconds:g} s" if late.is_set() else _too_much(limit)
        raise ContainedError(why)
    return _result(*found, limit)


def _here() -> str | None:
    """The working folder, to which relative paths refer; None if it was deleted."""
    try:
        return str(Path.cwd())
    except OSError:
        return None


def _result(answer: dict[str, Any], data: bytearray, limit: int) -> tuple[Any, bytearray]:
    if name := answer["error"]:
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, LeamError):
            raise kind(answer["text"])
        raise ContainedError(_too_much(limit) if name == "MemoryError" else answer["text"])
    return answer["value"], data


def _too_much(limit: int) -> str:
    return f"crashes its decoder, or needs more than {readable(limit)}"


def _read_into(stream: IO[bytes], data: bytearray) -> bool:
    """Fill a buffer; return whether it is full."""
    view = memoryview(data)
    while view and (count := stream.readinto(view)):  # type: ignore[attr-defined]
        view = view[count:]
    return not view


@atexit.register
def _end() -> None:
    if _helper is not None and _helper.owner == os.getpid():
        _helper.close()


def serve() -> None:
    """Answer calls until standard input ends; the main function of the helper process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What decoders print must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        answer, data = _answer(json.loads(line))
        answers.write(json.dumps({**answer, "size": len(data)}).encode() + b"\n")
        answers.write(data)
        answers.flush()


def _answer(question: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    module, _, name = question["function"].partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
        if question["folder"] is not None:
            os.chdir(question["folder"])
        _limit_memory(question["limit"])
        value, data = function(*question["arguments"])
        view = memoryview(data).cast("B")
    except LeamError as error:
        return {"error": type(error).__name__, "text": str(error), "failed": False}, b""
    except BaseException as error:  # noqa: BLE001  panics of Rust are no Exceptions
        return {"error": type(error).__name__, "text": first_line(error), "failed": True}, b""
    return {"error": None, "value": value, "failed": False}, view


def _limit_memory(limit: int) -> None:
    try:
        import resource  # noqa: PLC0415  not on Windows
    except ImportError:
        return
    try:
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        size = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (size, hard))
    except (OSError, ValueError):
        return
