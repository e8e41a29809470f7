"""Tables as spreadsheets and data sets write them: commas, semicolons or tabs; UTF-8 or UTF-16."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from leam.errors import InputError
from leam.files import open_regular

_DELIMITERS = ",;\t"
# What spreadsheets and programs write for a value that is missing. None is not among them: it may be said of glasses.
_MISSING = frozenset({"nan", "na", "n/a", "#n/a", "<na>", "null"})
_TRUE, _FALSE = frozenset({"1", "1.0", "true"}), frozenset({"0", "0.0", "false"})
_BLANKS = "".join(one for one in map(chr, range(0x3001)) if one.isspace()) + "\u200b\u2060\ufeff"
_ARCHIVES = (b"PK\3\4", b"\xd0\xcf\x11\xe0")
_BOMS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
# Longer lines are not those of a table.
_MAX_HEADER = 1 << 16
_MAX_BLANK = 1000
_MAX_LINE = 1 << 20


def normal(name: str) -> str:
    """A name in one Unicode form (NFC): file systems and spreadsheets write letters with accents in two ways."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def forms_of(name: str) -> list[str]:
    """A name as it is and in the Unicode forms that file systems know, NFC and NFD."""
    if name.isascii():
        return [name]
    return list(
        dict.fromkeys([name, *(unicodedata.normalize(one, name) for one in ("NFC", "NFD"))])
    )


def is_missing(value: str) -> bool:
    """Whether a value of a table stands for none: empty, NaN, NA, N/A or NULL."""
    return not value or value.casefold() in _MISSING


def flag(value: str) -> bool | None:
    """What 1 or true, and 0 or false, stand for, in any case and also as numbers with decimals; None for others."""
    lower = value.casefold()
    return True if lower in _TRUE else False if lower in _FALSE else None


def whole(value: str) -> int | None:
    """A number from 0, also if it was written with decimals, as in 1.0; None for others."""
    digits = value.removesuffix(".0")
    return int(digits) if digits.isascii() and digits.isdecimal() else None


def stripped(value: str) -> str:
    """A value without spaces around it, also those without width that copied texts have."""
    return value.strip(_BLANKS)


def slashed(name: str) -> str:
    """A relative path with single forward slashes, also if it was written on Windows or begins with ./."""
    if "\\" in name:
        return PureWindowsPath(name).as_posix()
    return PurePosixPath(name).as_posix() if "./" in name or "//" in name else name


def columns_of(path: Path) -> list[str]:
    """The column names of a table in lower case; empty if the file is not a table."""
    try:
        with _opened(path) as text:
            return [name.casefold() for name in _header(text)[0]]
    except (OSError, UnicodeError, csv.Error):
        return []


def rows_of(
    path: Path, required: Sequence[str], known: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table with the numbers of their lines, without those of which all values are empty.

    The delimiter is the one of comma, semicolon and tab that gives the first line the most columns. The case of
    required and known columns is ignored. Values are stripped of spaces around them.

    Args:
        path: The table.
        required: Columns that must exist and be filled.
        known: Other columns whose names are known.

    Raises:
        InputError: The table cannot be read, a required column is missing or not filled, or a line has too many or
            too few values.
    """
    try:
        with _opened(path) as text:
            yield from _rows(path, text, required, known)
    except (OSError, UnicodeError, csv.Error) as error:
        # What a codec says of its bytes tells a user nothing.
        reason = error.strerror if isinstance(error, OSError) else error
        if isinstance(error, UnicodeError):
            reason = "not text in UTF-8 or UTF-16"
        raise InputError(
            f"{path}: not a readable CSV file ({reason}); save it as CSV in UTF-8"
        ) from None


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their numbers, without empty ones.

    Raises:
        InputError: The file cannot be read as text.
    """
    try:
        with _opened(path) as text:
            for number, line in enumerate(_lines(text), start=1):
                if line.strip():
                    yield number, line.strip()
    except (OSError, UnicodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: not a readable text file ({reason})") from None


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(_MAX_LINE):
        if len(line) == _MAX_LINE:
            raise csv.Error(f"a line of more than {_MAX_LINE} characters")
        yield line


def _rows(
    path: Path, text: io.TextIOWrapper, required: Sequence[str], known: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    columns, delimiter, before = _header(text)
    lower = {name.casefold(): name for name in (*required, *known)}
    columns = [lower.get(name.casefold(), name) for name in columns]
    _check_columns(path, columns, required)
    reader = csv.reader(_lines(text), delimiter=delimiter)
    for cells in reader:
        line = reader.line_num + before
        row = [stripped(value) for value in cells]
        if not any(row):
            continue
        while len(row) > len(columns) and not row[-1]:
            row.pop()
        values = {name: value for name, value in zip(columns, row, strict=False) if name}
        if len(row) != len(columns) or not all(values[name] for name in required):
            expected = f"{len(columns)} values, {' and '.join(required)} not empty"
            raise InputError(f"{path}, line {line}: expected {expected}")
        if any("\0" in value for value in row):
            raise InputError(f"{path}, line {line}: contains a null byte")
        yield line, values


def _check_columns(path: Path, columns: Sequence[str], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in columns]
    if missing:
        raise InputError(
            f"{path}: {'' if columns else 'is empty; '}the column {missing[0]!r} is missing; "
            f"required: {', '.join(required)}"
        )
    doubled = next((name for name, n in Counter(columns).items() if name and n > 1), None)
    if doubled:
        raise InputError(f"{path}: has two columns {doubled!r}; rename one of them")


def _opened(path: Path) -> io.TextIOWrapper:
    stream = open_regular(path)
    try:
        head = stream.read(4)
        stream.seek(0)
    except OSError:
        stream.close()
        raise
    if head in _ARCHIVES:
        stream.close()
        raise csv.Error("a spreadsheet or an archive")
    return io.TextIOWrapper(stream, encoding=_encoding(head), newline="")


def _encoding(head: bytes) -> str:
    for mark, name in _BOMS.items():
        if head.startswith(mark):
            return name
    # Latin letters in UTF-16 without a mark have a zero in every second byte.
    zeros = [not byte for byte in head]
    if zeros in ([False, True] * 2, [True, False] * 2):
        return "utf-16-be" if zeros[0] else "utf-16-le"
    return "utf-8-sig"


def _header(text: io.TextIOWrapper) -> tuple[list[str], str, int]:
    """The column names, the delimiter, and the number of lines before the rows."""
    line, before = _first_line(text), 1
    while line and not line.strip(" \r\n") and before < _MAX_BLANK:
        line, before = text.readline(_MAX_HEADER), before + 1
    # Spreadsheets may name the delimiter in a line of its own.
    if line.casefold().startswith("sep=") and len(line.rstrip("\r\n")) == len("sep=;"):
        delimiter = line[4]
        return _split(_first_line(text), delimiter), delimiter, before + 1
    delimiter = max(_DELIMITERS, key=lambda one: len(_split(line, one)))
    return _split(line, delimiter), delimiter, before


def _first_line(text: io.TextIOWrapper) -> str:
    line = text.readline(_MAX_HEADER)
    if len(line) == _MAX_HEADER:
        raise csv.Error(f"column names of more than {_MAX_HEADER} characters")
    return line


def _split(line: str, delimiter: str) -> list[str]:
    return [stripped(name) for row in csv.reader([line], delimiter=delimiter) for name in row]
