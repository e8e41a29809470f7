"""A finished study in Python: its figures, tables and report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import polars as pl

from leam.display import card
from leam.errors import InputError, StudyError, did_you_mean
from leam.results.summary import Summary
from leam.study.plan import Plan
from leam.study.store import RunFolder
from leam.study.summary import read_summary

_SUFFIX = ".parquet"


class Tables(Mapping[str, pl.DataFrame]):
    """The tables of a study by name, such as ``faces`` or ``occlusion/dlib_resnet``.

    A table is read when it is asked for.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        top = folder.path / "tables"
        paths = sorted(top.rglob(f"*{_SUFFIX}"))
        self._names = [path.relative_to(top).as_posix().removesuffix(_SUFFIX) for path in paths]

    def __getitem__(self, name: str) -> pl.DataFrame:
        """Read a table.

        Raises:
            StudyError: There is no such table, or it is damaged.
        """
        if name not in self._names:
            near = did_you_mean(str(name), self._names)
            raise StudyError(f"{name}: no such table; {near}available: {', '.join(self._names)}")
        return self._folder.read_table(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return (
            f"Tables({len(self)}: {', '.join(self._names[:3])}{', ...' if len(self) > 3 else ''})"  # noqa: PLR2004
        )

    def _repr_html_(self) -> str:
        return card(f"{len(self)} tables", rows=[(name,) for name in self])


class Run:
    """A finished study; :func:`open_run` opens one.

    Attributes:
        folder: Its folder.
        plan: Its plan.
        summary: Its figures.
        tables: Its tables by name.
    """

    def __init__(self, folder: RunFolder, plan: Plan, summary: Summary) -> None:
        self.folder, self.plan, self.summary = folder, plan, summary

    @property
    def path(self) -> Path:
        """The folder's path."""
        return self.folder.path

    @cached_property
    def tables(self) -> Tables:
        """The tables by name."""
        return Tables(self.folder)

    @property
    def report(self) -> Path:
        """The report, an HTML page.

        Raises:
            StudyError: It is missing.
        """
        path = self.path / "report.html"
        if not path.is_file():
            raise StudyError(f"{path}: missing; run `leam report {self.path}`")
        return path

    def to_frame(self) -> pl.DataFrame:
        """All figures; see :meth:`leam.results.summary.Summary.to_frame`."""
        return self.summary.to_frame()

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.summary!r})"

    def _repr_html_(self) -> str:
        facts = {"folder": self.path, "tables": len(self.tables), **self.summary.facts()}
        return card("Run", facts)


def open_run(path: str | Path) -> Run:
    """Open a finished study.

    Args:
        path: Its folder.

    Raises:
        InputError: Not a path.
        StudyError: The folder holds no finished study of this version, or a file has changed since.

    Example:
        >>> run = leam.open_run("run")
        >>> run.to_frame().filter(pl.col("stage") == "regions")
        >>> run.tables["faces"]
    """
    if not isinstance(path, str | Path):
        raise InputError(
            f"open_run: of type {type(path).__name__}; expected the path of a run folder"
        )
    folder = RunFolder(path)
    plan = folder.plan()
    summary = read_summary(folder)
    folder.verify()
    return Run(folder, plan, summary)
