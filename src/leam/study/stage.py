"""The unit that a study is made of: what a stage needs, computes, stores, tabulates and summarises.

A study knows its stages by this protocol alone, so that a new metric is one file: a module in ``study/stages/``, or a
class that an installed package names in the entry point group ``leam.measures``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, TypeVar

from leam.plugins import Registry
from leam.results.figures import Figures
from leam.results.shards import Shard

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from leam.study.plan import Plan
    from leam.study.run_data import RunData
    from leam.study.scene import MapBatch, Scene

Phase = Literal["embed", "explain", "compare"]
"""When a stage's shards are computed.

``embed`` comes before anything is explained, ``explain`` needs nothing but its own slice and recognizer, and
``compare`` may read all shards of the phases before, of all slices and recognizers.
"""

PHASES: Mapping[Phase, str] = {
    "embed": "embedding",
    "explain": "explaining",
    "compare": "comparing",
}
"""The phases in their order, with what a progress bar calls them."""

S = TypeVar("S", bound=Shard)


class Stage(Generic[S]):
    """One stage of a study. A subclass sets the attributes and overrides the methods that it needs.

    A stage that stores arrays sets ``shard`` and overrides :meth:`of_maps` (called with the maps of a batch of faces,
    while they are in memory) or :meth:`of_slice` (called once per slice). A stage that reports figures sets
    ``figures`` and overrides :meth:`summarise`, or :meth:`summarise_study` for figures of all recognizers together.

    Attributes:
        name: Names its shards, tables, figures and section of the report.
        title: One line for people: what is measured.
        phase: When its shards are computed.
        shard: The type of what it stores of a slice; None where it stores nothing.
        figures: The type of its figures; None where it has none.
        needs: Names of the stages whose shards or tables it reads.
        columns: The columns of its table with their meaning; empty where it has no table.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    phase: ClassVar[Phase] = "explain"
    shard: ClassVar[type[Shard] | None] = None
    figures: ClassVar[type[Figures] | None] = None
    needs: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[Mapping[str, str]] = {}

    def applies(self, plan: Plan) -> bool:  # noqa: ARG002  for subclasses
        """Whether the stage is part of a study."""
        return True

    def of_maps(self, batch: MapBatch) -> S | None:  # noqa: ARG002  for subclasses
        """What is stored of a batch of explained faces; the parts of a slice are joined.

        None, for all batches, where :meth:`of_slice` computes the shard.
        """
        return None

    def of_slice(self, scene: Scene) -> S | None:  # noqa: ARG002  for subclasses
        """What is stored of a slice of faces; None where there is nothing to store."""
        return None

    def is_current(self, shard: S, recognizers: list[str]) -> bool:  # noqa: ARG002  for subclasses
        """Whether a stored shard still holds for the recognizers that work."""
        return True

    def tabulate(self, run: RunData, recognizer: str) -> Iterator[pl.DataFrame] | None:  # noqa: ARG002  for subclasses
        """The rows of ``tables/NAME/RECOGNIZER.parquet`` in parts; None where there is no table."""
        return None

    def summarise(self, run: RunData, recognizer: str) -> Figures | None:  # noqa: ARG002  for subclasses
        """The figures of one recognizer."""
        return None

    def summarise_study(self, run: RunData) -> Figures | None:  # noqa: ARG002  for subclasses
        """The figures of all recognizers together."""
        return None

    @classmethod
    def of_study(cls) -> bool:
        """Whether the figures are of all recognizers together."""
        return cls.summarise_study is not Stage.summarise_study

    @classmethod
    def uses_maps(cls) -> bool:
        """Whether the shard is computed from maps in memory."""
        return cls.of_maps is not Stage.of_maps


class SubsetStage(Stage[S]):
    """A stage that is too costly for everybody: measured on the first picture of the people of the subset."""

    phase = "compare"

    def applies(self, plan: Plan) -> bool:
        """Where the study has a subset."""
        return plan.settings.subset > 0

    def of_slice(self, scene: Scene) -> S | None:
        """What is stored of the subset's faces in a slice; None where it has none."""
        rows = scene.subset_rows
        return self.of_subset(scene, rows) if len(rows) else None

    def of_subset(self, scene: Scene, rows: NDArray[np.intp]) -> S:
        """What is stored of some faces.

        Args:
            scene: The slice.
            rows: Which faces belong to the subset.
        """
        raise NotImplementedError


STAGES: Registry[type[Stage[Shard]]] = Registry(
    "stage", "leam.measures", package="leam.study.stages", one_each=False
)
"""The stages by name."""


def stages_of(plan: Plan) -> list[Stage[Shard]]:
    """The stages of a study, in the order of their names."""
    found = [STAGES[name]() for name in sorted(STAGES)]
    return [stage for stage in found if stage.applies(plan)]


def recognizer_kinds(names: Iterable[str] | None = None) -> dict[str, type[Figures]]:
    """The types of the figures of one recognizer, by stage; of all installed stages, or of those named."""
    return _kinds(names, of_study=False)


def study_kinds(names: Iterable[str] | None = None) -> dict[str, type[Figures]]:
    """The types of the figures of all recognizers together, by stage; likewise."""
    return _kinds(names, of_study=True)


def _kinds(names: Iterable[str] | None, *, of_study: bool) -> dict[str, type[Figures]]:
    found = {name: STAGES[name] for name in sorted(STAGES if names is None else names)}
    return {
        name: stage.figures
        for name, stage in found.items()
        if stage.figures is not None and stage.of_study() is of_study
    }
