"""The log: warnings on standard error; warnings and tracebacks in a file in the user's log folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

import platformdirs

from leam.cli.console import complain, note
from leam.errors import printable

LOGGER = logging.getLogger("leam")
# The warnings of Python and of other packages. They are for developers: in the file, and shown with --verbose.
_WARNINGS = logging.getLogger("py.warnings")
_MAX_BYTES = 1 << 20


def log_path() -> Path:
    """Path of the log file, which exists once something has been logged."""
    return platformdirs.user_log_path("leam", appauthor=False) / "leam.log"


class _Lines(logging.Handler):
    """Prints each record as one line on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage().strip().partition("\n")[0]
        if record.levelno >= logging.ERROR:
            complain(line)
        else:
            note(line)


class _OneLine(logging.Formatter):
    """Control characters of names and messages are escaped; only tracebacks have several lines."""

    def format(self, record: logging.LogRecord) -> str:
        lines = super().format(record).split("\n")
        if not record.exc_info:
            return printable("\n".join(lines))
        return "\n".join(map(printable, lines))


class _File(RotatingFileHandler):
    """The log file: limited in size, created by the first record, skipped if it cannot be written."""

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Go on without a log."""

    def close(self) -> None:
        """Close the file, also on a disk that cannot hold its last lines."""
        with suppress(OSError):
            super().close()


@contextmanager
def logging_configured() -> Iterator[None]:
    """Handle log records inside the block as the command line does."""
    lines = _Lines(logging.WARNING)
    # A name that is not UTF-8 is written with escapes.
    file = _File(
        log_path(),
        maxBytes=_MAX_BYTES,
        backupCount=1,
        encoding="utf-8",
        errors="backslashreplace",
        delay=True,
    )
    file.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    before = LOGGER.level
    LOGGER.setLevel(logging.INFO)
    LOGGER.addHandler(lines)
    for logger in (LOGGER, _WARNINGS):
        logger.addHandler(file)
    logging.captureWarnings(capture=True)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        for logger in (LOGGER, _WARNINGS):
            for handler in (lines, file):
                logger.removeHandler(handler)
        LOGGER.setLevel(before)
        file.close()


def set_level(level: int) -> None:
    """Show records of this level and above on standard error."""
    LOGGER.setLevel(min(level, logging.INFO))
    for handler in LOGGER.handlers:
        if isinstance(handler, _Lines):
            handler.setLevel(level)
            if level < logging.WARNING:
                _WARNINGS.addHandler(handler)


def log_failure(what: str, error: BaseException) -> Path | None:
    """Write an error with its traceback to the log file.

    Returns:
        The file; None if it cannot be written.
    """
    record = LOGGER.makeRecord(
        LOGGER.name, logging.ERROR, __file__, 0, what, (), (type(error), error, error.__traceback__)
    )
    for handler in LOGGER.handlers:
        if isinstance(handler, _File):
            handler.handle(record)
            return log_path() if handler.stream else None
    return None
