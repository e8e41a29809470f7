"""Weights that are not in the package: where a parser looks for them, and whence they come."""

from __future__ import annotations

import os
from pathlib import Path

from leam.errors import WeightsError
from leam.weights.cache import cached_path
from leam.weights.download import fetch, sha256_of


def weights_of(parser: str, url: str, sha256: str) -> Path:
    """The weights of a parser: the file that ``LEAM_<PARSER>`` names, else the public one.

    The public file is fetched into the user's cache on first use. A file that the variable names
    may be another one, and is taken as it is.

    Args:
        parser: The parser's name.
        url: The public file.
        sha256: Its checksum.

    Raises:
        WeightsError: The variable names no file, or the public one cannot be fetched or is not the
            right one.
    """
    variable = f"LEAM_{parser.upper()}"
    if named := os.environ.get(variable):
        path = Path(named)
        if not path.is_file():
            raise WeightsError(f"{parser}: {path}, named by {variable}, does not exist")
        return path
    path = cached_path(parser, url)
    try:
        fetch(url, path, sha256)
    except WeightsError as error:
        raise WeightsError(f"{parser}: {error}; or name your file in {variable}") from None
    if (found := sha256_of(path)) != sha256:
        raise WeightsError(f"{parser}: {path} has sha256 {found}, not {sha256}; remove it")
    return path
