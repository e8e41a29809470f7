"""The protocol of a stage: what it needs, computes, stores, tabulates and summarises.

A study uses its stages only through this protocol. A new metric is therefore one file: a module in ``study/stages/``,
or a class that an installed package declares in the entry point group ``leam.stages``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, TypeVar

from leam.errors import LeamError, PluginError, first_line
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

``embed`` runs before any explanation. ``explain`` needs only its own slice and recognizer. ``compare`` may read the
shards of earlier phases, for all slices and recognizers.
"""

PHASES: Mapping[Phase, str] = {
    "embed": "embedding",
    "explain": "explaining",
    "compare": "comparing",
}
"""The phases in order, with their progress bar titles."""

# Folders of shards that belong to no stage.
_RESERVED = ("detect", "parse", "summarise")

S = TypeVar("S", bound=Shard)


class Stage(Generic[S]):
    """One stage of a study. A subclass sets the attributes and overrides the methods that it needs.

    A stage that stores arrays sets ``shard`` and overrides :meth:`of_maps` (called with the maps of a batch of faces,
    while they are in memory) or :meth:`of_slice` (called once per slice). A stage that reports figures sets
    ``figures`` and overrides :meth:`summarise`, or :meth:`summarise_study` for figures that cover all recognizers.

    Attributes:
        name: Name of its shards, tables, figures and section of the report.
        title: One-line description of what is measured.
        phase: When its shards are computed.
        shard: Type of the shards; None if it stores nothing.
        figures: Type of its figures; None if it has none.
        needs: Names of the stages whose shards or tables it reads.
        columns: Descriptions of the columns of its table, by column; empty if it has no table.
        in_audit: Whether an audit runs it; an audit may have people with a single picture.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    phase: ClassVar[Phase] = "explain"
    shard: ClassVar[type[Shard] | None] = None
    figures: ClassVar[type[Figures] | None] = None
    needs: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[Mapping[str, str]] = {}
    in_audit: ClassVar[bool] = False

    def applies(self, plan: Plan) -> bool:  # noqa: ARG002  for subclasses
        """Whether the stage is part of a study."""
        return True

    def of_maps(self, batch: MapBatch) -> S | None:  # noqa: ARG002  for subclasses
        """What to store for a batch of explained faces. The batches of a slice are joined.

        Return None for all batches if :meth:`of_slice` computes the shard.
        """
        return None

    def of_slice(self, scene: Scene) -> S | None:  # noqa: ARG002  for subclasses
        """What to store for a slice of faces; None if there is nothing to store."""
        return None

    def is_current(self, shard: S, recognizers: list[str]) -> bool:  # noqa: ARG002  for subclasses
        """Whether a stored shard is still valid for the recognizers that have not failed."""
        return True

    def tabulate(self, run: RunData, recognizer: str) -> Iterator[pl.DataFrame] | None:  # noqa: ARG002  for subclasses
        """The rows of ``tables/NAME/RECOGNIZER.parquet`` in parts; None if there is no table."""
        return None

    def summarise(self, run: RunData, recognizer: str) -> Figures | None:  # noqa: ARG002  for subclasses
        """The figures of one recognizer."""
        return None

    def summarise_study(self, run: RunData) -> Figures | None:  # noqa: ARG002  for subclasses
        """The figures that cover all recognizers."""
        return None

    def checked(self, figures: Figures) -> Figures:
        """Figures of the declared type.

        Raises:
            TypeError: They are of another type.
        """
        if type(figures) is not self.figures:
            declared = self.figures.__name__ if self.figures else "none"
            raise TypeError(f"figures of type {type(figures).__name__}, declared: {declared}")
        return figures

    @classmethod
    def of_study(cls) -> bool:
        """Whether the figures cover all recognizers."""
        return cls.summarise_study is not Stage.summarise_study

    @classmethod
    def uses_maps(cls) -> bool:
        """Whether the shard is computed from maps in memory."""
        return cls.of_maps is not Stage.of_maps


class SubsetStage(Stage[S]):
    """A costly stage that runs only on the first picture of each person in the subset."""

    phase = "compare"

    def applies(self, plan: Plan) -> bool:
        """Whether the study has a subset."""
        return plan.settings.subset > 0

    def of_slice(self, scene: Scene) -> S | None:
        """What to store for the subset's faces in a slice; None if there are none."""
        rows = scene.subset_rows
        return self.of_subset(scene, rows) if len(rows) else None

    def of_subset(self, scene: Scene, rows: NDArray[np.intp]) -> S:
        """What to store for the subset's faces.

        Args:
            scene: The slice.
            rows: Rows of the faces that belong to the subset.
        """
        raise NotImplementedError


STAGES: Registry[type[Stage[Shard]]] = Registry(
    "stage", "leam.stages", package="leam.study.stages", one_each=False
)
"""The stages by name."""


def stages_of(plan: Plan) -> list[Stage[Shard]]:
    """The stages of a study, sorted by name.

    Raises:
        PluginError: A plug-in's stage cannot be made, has another name than its entry point, or needs a stage that
            does not exist or comes later.
    """
    found = []
    for name in sorted(STAGES):
        with blaming(name):
            stage = _checked(name, STAGES[name])()
            if stage.applies(plan) and (stage.in_audit or not plan.settings.audit):
                found.append(stage)
    phases = {stage.name: list(PHASES).index(stage.phase) for stage in found}
    for stage in found:
        for need in stage.needs:
            if phases.get(need, len(PHASES)) > phases[stage.name]:
                raise PluginError(
                    f"{STAGES.origin(stage.name)}: its stage {stage.name} needs {need}, which is not part of this "
                    "study or comes later"
                )
    return found


@contextmanager
def blaming(name: str) -> Iterator[None]:
    """Name the package whose stage fails inside the block; errors of built-in stages pass unchanged.

    Raises:
        PluginError: A plug-in's stage has failed.
    """
    try:
        yield
    except (LeamError, MemoryError):
        raise
    except Exception as error:
        if (origin := STAGES.origin(name)) == "leam":
            raise
        raise PluginError(f"{origin}: its stage {name} failed: {first_line(error)}") from error


def _checked(name: str, stage: type[Stage[Shard]]) -> type[Stage[Shard]]:
    """A stage whose name is that of its entry point, since another one's results would be overwritten."""
    own = getattr(stage, "name", None)
    if own != name or not re.fullmatch(r"\w[\w.-]*", name) or name in _RESERVED:
        raise PluginError(
            f"{STAGES.origin(name)}: its stage {name} has the name {own!r}; expected the name of the entry point, "
            f"of letters, digits and _.-, other than {', '.join(_RESERVED)}"
        )
    return stage


def recognizer_kinds(names: Iterable[str] | None = None) -> dict[str, type[Figures]]:
    """Types of per-recognizer figures by stage, for the named stages or for all that are installed."""
    return _kinds(names, of_study=False)


def study_kinds(names: Iterable[str] | None = None) -> dict[str, type[Figures]]:
    """Types of study-wide figures by stage, for the named stages or for all that are installed."""
    return _kinds(names, of_study=True)


def _kinds(names: Iterable[str] | None, *, of_study: bool) -> dict[str, type[Figures]]:
    found = {name: STAGES[name] for name in sorted(STAGES if names is None else names)}
    return {
        name: stage.figures
        for name, stage in found.items()
        if stage.figures is not None and stage.of_study() is of_study
    }
