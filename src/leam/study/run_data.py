"""Access to the stored results of a study, for tables, figures and the report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TypeVar, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from leam.metrics.statistics import (
    Estimate,
    Numbers,
    benjamini_hochberg,
    bootstrap_means,
    cohens_d_paired,
    finite,
    person_means,
    sign_flip_p,
)
from leam.parsers import load_parser
from leam.parsers.regions import regions_of
from leam.progress import Progress, silent
from leam.results.figures import PairedDifference
from leam.results.shards import S
from leam.study.plan import Plan, Settings
from leam.study.preparation import Detections, read_detections, usable_images
from leam.study.store import RunFolder

T = TypeVar("T")

OVERALL = "overall"
"""Name of the overall map in tables that also list layers."""


class RunData:
    """The shards and tables of a study.

    Args:
        plan: The plan of the study, with the recognizers that have not failed.
        folder: The run folder.
        progress: Progress callback.
    """

    def __init__(self, plan: Plan, folder: RunFolder, progress: Progress = silent) -> None:
        self.plan, self.folder, self.progress = plan, folder, progress
        # Only the last result is kept, since it may be large.
        self._computed: dict[tuple[str, ...], object] = {}

    @property
    def settings(self) -> Settings:
        """The study's settings."""
        return self.plan.settings

    @property
    def recognizers(self) -> list[str]:
        """Names of the recognizers."""
        return [model.card.name for model in self.plan.models]

    @cached_property
    def people(self) -> dict[str, int]:
        """The people with usable pictures, numbered in order."""
        positions, _ = usable_images(self.plan, self.folder)
        names = dict.fromkeys(self.plan.images[position].person for position in positions)
        return {name: number for number, name in enumerate(names)}

    def once(self, key: tuple[str, ...], compute: Callable[[], T]) -> T:
        """The cached result of a function, for work that a table and the figures share."""
        if key not in self._computed:
            self._computed = {key: compute()}
        return cast("T", self._computed[key])

    def detections(self) -> Iterator[tuple[range, Detections]]:
        """The detections of every slice, with the positions of its pictures."""
        for index, part in enumerate(self.plan.slices):
            yield part, read_detections(self.folder, index)

    def shards(
        self, kind: type[S], stage: str, recognizer: str, only: Collection[str] | None = None
    ) -> Iterator[S]:
        """The finished, non-empty shards of a stage, in order.

        Args:
            kind: Type of the shards.
            stage: Name of the stage.
            recognizer: Name of the recognizer.
            only: Fields to read; all by default.
        """
        for index, _ in enumerate(self.plan.slices):
            shard = self.folder.read_shard(kind, f"{stage}/{recognizer}", index, only)
            if shard is not None:
                yield shard

    def table(
        self,
        stage: str,
        recognizer: str,
        columns: Sequence[str] | None = None,
        where: pl.Expr | None = None,
    ) -> pl.DataFrame:
        """A stage's table for a recognizer, or the selected columns and rows of it.

        Raises:
            StudyError: The table is missing or damaged.
        """
        return self.folder.read_table(f"{stage}/{recognizer}", columns, where)

    def regions(self, parser: str | None = None) -> list[str]:
        """The regions that a parser distinguishes, in the order of ``REGIONS``; by default the study's parser."""
        return regions_of(load_parser(parser or self.settings.parser).labels)

    def owners(self, positions: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int64]:
        """Person numbers of the pictures at these positions, ``(n,)``."""
        people = [self.plan.images[int(position)].person for position in positions]
        found: NDArray[np.int64] = np.unique(people, return_inverse=True)[1]
        return found

    def estimate(self, values: NDArray[np.floating], owners: NDArray[np.int64]) -> Estimate:
        """The mean of values ``(n,)`` with its interval over people; ``owners (n,)`` are their person numbers."""
        return self.estimates(values[:, None], owners)[0]

    def estimates(self, values: NDArray[np.floating], owners: NDArray[np.int64]) -> list[Estimate]:
        """The same for each column of values ``(n, c)``. All columns share one bootstrap."""
        return bootstrap_means(values, owners, self.settings.seed)

    def paired(self, differences: Numbers, owners: NDArray[np.int64]) -> PairedDifference:
        """Mean paired difference ``(n,)`` over people, with the p-value of a sign-flip test and the effect size."""
        people = int(owners.max(initial=-1)) + 1
        means = person_means(differences.astype(np.float64), owners, people)
        return PairedDifference(
            difference=self.estimate(differences, owners),
            p=finite(sign_flip_p(means, self.settings.seed)),
            d=finite(cohens_d_paired(means)),
        )

    def margins(
        self, differences: Mapping[str, Numbers], owners: NDArray[np.int64]
    ) -> dict[str, PairedDifference]:
        """:meth:`paired` of the difference from each control, with p-values corrected for the number of controls."""
        found = {name: self.paired(one, owners) for name, one in differences.items()}
        p_values = np.array([one.p for one in found.values()], dtype=np.float64)
        adjusted = benjamini_hochberg(p_values).tolist()
        return {
            name: one.model_copy(update={"p_adjusted": finite(p)})
            for (name, one), p in zip(found.items(), adjusted, strict=True)
        }

    def column_estimates(self, rows: pl.DataFrame, columns: Sequence[str]) -> dict[str, Estimate]:
        """Means of the columns of a table over people."""
        people = rows["person"].rank("dense").to_numpy().astype(np.int64)
        values = rows.select(pl.col(columns).cast(pl.Float64)).to_numpy()
        return dict(zip(columns, self.estimates(values, people), strict=True))

    def who(self, positions: NDArray[np.integer]) -> dict[str, pl.Series]:
        """The columns ``person`` and ``image`` for the pictures at these positions, one row each."""
        found, rows = np.unique(positions, return_inverse=True)
        images = [self.plan.images[position] for position in found]
        return {
            "person": pl.Series([i.person for i in images], dtype=pl.String).gather(rows),
            "image": pl.Series([i.image for i in images], dtype=pl.String).gather(rows),
        }


def mean_of_known(values: NDArray[np.floating], axis: int | tuple[int, ...]) -> Numbers:
    """Mean of the finite values along an axis, or several; NaN if there are none."""
    known = np.isfinite(values)
    counts = known.sum(axis=axis)
    sums = np.where(known, values, 0.0).sum(axis=axis)
    means: Numbers = np.divide(sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    return means
