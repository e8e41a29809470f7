"""Does a study's jobs, one by one, wherever it runs: each leaves one shard in the run folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from leam.errors import LeamError, StudyError, first_line
from leam.explain.explainer import Explainer
from leam.explain.targets import template
from leam.faces.alignment import Crop
from leam.faces.detection import Detector
from leam.faces.detectors import load_detector
from leam.parsers import load_parser
from leam.parsers.parsing import Parser, Parsing
from leam.recognizers.recognizer import Recognizer
from leam.study.album import Album, Page
from leam.study.found import restore_face, search_faces
from leam.study.jobs import Job, Kind
from leam.study.measuring import measure_slice
from leam.study.panel import choose_panel, examine_slice, threshold_of
from leam.study.plan import Plan, Settings
from leam.study.skipped import FACES, PARSING, usable
from leam.study.store import Arrays, RunFolder
from leam.study.summary import keep_figures, model_figures
from leam.study.tables import write_model_tables
from leam.study.transfer import transfer_slice


class Worker:
    """All that one process needs for a study's jobs.

    Args:
        plan: The study.
        folder: Its folder.
        recognizers: Those of the plan.
        alone: It does all jobs in their order, so that it is known which slice comes next.

    Raises:
        LayerError: A layer choice does not fit one of the recognizers.
    """

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        recognizers: Sequence[Recognizer],
        *,
        alone: bool = False,
    ) -> None:
        self.plan, self.folder, self._alone = plan, folder, alone
        # Choices that cannot work fail here, before hours of work.
        self._explainers = {r.name: explainer_of(r, plan.settings) for r in recognizers}
        self._crops = {r.crop.name: r.crop for r in recognizers}
        self._detector: Detector | None = None
        self._parsers: dict[str, Parser] = {}
        self._album: Album | None = None
        # What depends on the whole study is looked up once, not for every job.
        self._found: frozenset[int] | None = None
        self._positions: list[int] | None = None
        self._chosen: frozenset[int] | None = None
        self._known: dict[str, dict[int, torch.Tensor]] = {}
        self._thresholds: dict[str, float] = {}
        self._do: dict[Kind, Callable[[Job], Arrays]] = {
            "faces": self._faces,
            "parsing": self._parse,
            "templates": self._templates,
            "maps": self._maps,
            "transfer": self._transfer,
            "panel": self._panel,
            "figures": self._figures,
        }

    def do(self, job: Job) -> None:
        """Do a job and keep its result.

        Raises:
            StudyError: The run folder cannot be read or written: the study must stop.
            ModelError: The recognizer cannot do it.
        """
        self.folder.write_shard(job.stage, job.index, self._do[job.kind](job))

    def close(self) -> None:
        """Stop what still runs in the background."""
        if self._album:
            self._album.close()

    def _faces(self, job: Job) -> Arrays:
        self._detector = self._detector or load_detector(self.plan.settings.detector)
        part = self.plan.slices[job.index]
        return search_faces(self.plan.images[part.start : part.stop], self._detector)

    def _parse(self, job: Job) -> Arrays:
        name, crop_name = job.name.split("/")
        if name not in self._parsers:
            self._parsers[name] = load_parser(name)
        if self._found is None:
            self._found = frozenset(usable(self.plan, self.folder, parsed=False)[0])
        parser, crop = self._parsers[name], self._crops[crop_name]
        return parse_slice(self.plan, self.folder, job.index, parser, crop, self._found)

    def _templates(self, job: Job) -> Arrays:
        recognizer = self._explainers[job.name].recognizer
        page = self._page(job.index)
        if not page.subjects:
            return {}
        embeddings = recognizer.embed(page.chips[recognizer.crop].images)
        people = np.array([subject.person for subject in page.subjects])
        templates = [
            template(embeddings[torch.from_numpy(people == one)], recognizer.card.similarity)
            for one in dict.fromkeys(people.tolist())
        ]
        return {"template": torch.stack(templates).cpu().numpy()}

    def _maps(self, job: Job) -> Arrays:
        explainer, settings = self._explainers[job.name], self.plan.settings
        page, crop = self._page(job.index), explainer.recognizer.crop
        if not page.subjects:
            return {}
        second = settings.second_parser
        return measure_slice(
            page.subjects,
            page.chips[crop],
            explainer,
            self._parsings(settings.parser, crop, job.index),
            settings,
            self._parsings(second, crop, job.index) if second else None,
            self._others(job) if settings.target == "contrast" else None,
        )

    def _transfer(self, job: Job) -> Arrays:
        recognizer = self._explainers[job.name].recognizer
        page = self._page(job.index)
        if not page.subjects:
            return {}
        wanted = ["position", "density", "matrix"]
        own = [*wanted, "embedding", "critical", "drop"]
        shards = {
            name: self.folder.read_shard(
                f"maps/{name}", job.index, own if name == job.name else wanted
            )
            for name in (model.card.name for model in self.plan.models)
        }
        sources = {name: arrays for name, arrays in shards.items() if arrays}
        return transfer_slice(
            page.subjects, page.chips[recognizer.crop], recognizer, sources, self.plan.settings
        )

    def _panel(self, job: Job) -> Arrays:
        explainer = self._explainers[job.name]
        crop = explainer.recognizer.crop
        if self._chosen is None:
            self._chosen = choose_panel(self.plan, self._usable())
        panel = self._chosen
        if panel.isdisjoint(self.plan.slices[job.index]):
            return {}
        page = self._page(job.index)
        if job.name not in self._thresholds:
            self._thresholds[job.name] = threshold_of(
                self.plan, self.folder, job.name, explainer.recognizer.card.similarity
            )
        arrays = self.folder.read_shard(job.stage.replace("panel", "maps", 1), job.index)
        if arrays is None:
            raise StudyError(f"{self.folder.path}: the maps of {job.name} disappeared")
        return examine_slice(
            page,
            panel,
            explainer,
            arrays,
            self._parsings(self.plan.settings.parser, crop, job.index),
            self.plan.settings,
            self._thresholds[job.name],
        )

    def _figures(self, job: Job) -> Arrays:
        write_model_tables(self.plan, self.folder, job.name)
        return keep_figures(model_figures(self.plan, self.folder, job.name, self._usable()))

    def _usable(self) -> list[int]:
        if self._positions is None:
            self._positions, _ = usable(self.plan, self.folder)
        return self._positions

    def _page(self, index: int) -> Page:
        if self._album is None:
            self._album = Album(self.plan, self.folder, self._usable(), ahead=self._alone)
        return self._album.page(index)

    def _parsings(self, parser: str, crop: Crop, index: int) -> list[Parsing]:
        """The regions of a slice's usable faces; recognizers that share a crop share them."""
        arrays = self.folder.read_shard(f"{PARSING}/{parser}/{crop.name}", index)
        if arrays is None:
            raise StudyError(f"{self.folder.path}: the parsing by {parser} disappeared")
        start = self.plan.slices[index].start
        rows = [subject.position - start for subject in self._page(index).subjects]
        return [
            Parsing(arrays["labels"][row], arrays["confidence"][row].astype(np.float32))
            for row in rows
        ]

    def _others(self, job: Job) -> torch.Tensor | None:
        """Templates of the people outside a job's slice."""
        if job.name not in self._known:
            self._known[job.name] = {
                index: torch.from_numpy(arrays["template"])
                for index in range(len(self.plan.slices))
                if (arrays := self.folder.read_shard(f"templates/{job.name}", index))
            }
        found = [t for index, t in self._known[job.name].items() if index != job.index]
        return torch.cat(found) if found else None


def explainer_of(recognizer: Recognizer, settings: Settings) -> Explainer:
    """An explainer with a study's choices.

    Raises:
        LayerError: The layer choice does not fit the recognizer.
    """
    layers = settings.layers[0] if len(settings.layers) == 1 else settings.layers
    return Explainer(
        recognizer, layers=layers, weighting=settings.weighting, aggregate=settings.aggregate
    )


def parse_slice(
    plan: Plan, folder: RunFolder, index: int, parser: Parser, crop: Crop, wanted: frozenset[int]
) -> Arrays:
    """The regions of a slice's faces in one crop.

    Returns:
        For the ``n`` pictures of the slice: ``labels (n, h, w)`` uint8 and ``confidence (n, h, w)`` float16, zero
        where there is no usable face; ``reason (n,)``, why the parser failed, empty where it did not.
    """
    faces = folder.read_shard(FACES, index)
    if faces is None:
        raise StudyError(f"{folder.shard(FACES, index)}: disappeared while the study ran")
    part = plan.slices[index]
    labels = np.zeros((len(part), *crop.size), dtype=np.uint8)
    confidence = np.zeros((len(part), *crop.size), dtype=np.float16)
    reasons = [""] * len(part)
    for row, position in enumerate(part):
        if position not in wanted:
            continue
        try:
            parsing = parser.parse(restore_face(plan.images[position], faces, row), crop)
        except (LeamError, RuntimeError, ValueError, ArithmeticError) as error:
            reasons[row] = f"the parser {parser.name} failed: {first_line(error)}"
        else:
            labels[row], confidence[row] = parsing.labels, parsing.confidence
    return {"labels": labels, "confidence": confidence, "reason": np.array(reasons, dtype=str)}
