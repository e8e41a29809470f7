"""What made the figures, how to repeat them, and how to cite them."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone

from leam.files import sha256_of
from leam.report.parts import Cell, Code, Fold, Heading, Part, Table, Text
from leam.report.section import SECTIONS, Context, Section
from leam.study.plan import Plan
from leam.study.presets import preset_lines

_PRESET = "settings.toml"
_REPEAT = (
    f"These settings, saved as ``{_PRESET}``, and this command give the same figures from the same pictures and "
    "weights. It names recognizers by their cards; add ``--cards`` for cards of your own."
)
_REPEAT_AUDIT = "This command gives the same figures from the same pictures and weights."
_PAPER = r"""@misc{borsukiewicz2025explainable,
  title = {Explainable {AI} for Analyzing Person-Specific Patterns in Facial Recognition Tasks},
  author = {Borsukiewicz, Pawe{\l} Jakub and Samhi, Jordan and Klein, Jacques and Bissyand{\'e}, Tegawend{\'e} F.},
  year = {2025},
  eprint = {2509.17457},
  archivePrefix = {arXiv},
  url = {https://arxiv.org/abs/2509.17457},
}"""
_SOFTWARE = """@software{{leam,
  title = {{{{LEAM}}: what face recognition networks rely on}},
  author = {{{{The LEAM contributors}}}},
  version = {{{version}}},
  license = {{Apache-2.0}},
}}"""


@SECTIONS("provenance")
class Provenance(Section):
    """Data, recognizers, versions, settings, the command, and citations."""

    name = "provenance"
    title = "Provenance"
    order = 190
    in_audit = True

    def parts(self, context: Context) -> Iterator[Part]:
        """When and from what, recognizers with licence, hash and device, how to repeat, cite and share it."""
        plan = context.plan
        yield Table((), list(_origin(context)), folded="")
        yield Heading("Recognizers")
        yield Table(
            (
                "recognizer",
                "computed with",
                "weighting",
                "licence",
                "source",
                "sha256 of the weights",
            ),
            list(_recognizers(context)),
            folded="",
        )
        settings = plan.settings.model_dump(mode="json").items()
        rows = [
            *plan.versions.items(),
            *((f"plug-in: {what}", version) for what, version in plan.plugins.items()),
            *((name.replace("_", " "), _written(value)) for name, value in settings),
        ]
        yield Table((), rows, folded="Versions and settings")
        yield Heading("Repeat it")
        yield from _repeat(plan)
        yield Heading("Cite it")
        yield Text("The paper that the method comes from, and this software:")
        yield Code(f"{_PAPER}\n\n{_SOFTWARE.format(version=plan.versions.get('leam', ''))}")
        sharing = (
            "This page shows faces of the study: share it only where you may, or render it again with ``--no-faces``."
            if context.faces
            else "This page names no person and no file, and shows no face but means of many people."
        )
        yield Text(f"Faces are biometric data. {sharing}", style="muted")


def _origin(context: Context) -> Iterator[tuple[str, str | Cell]]:
    """When the figures were written, and from which data."""
    plan, summary = context.plan, context.run.folder.path / "summary.json"
    written = datetime.fromtimestamp(summary.stat().st_mtime, tz=timezone.utc)
    yield "figures written", f"{written:%Y-%m-%d %H:%M} UTC"
    if context.faces:
        yield "data", Cell(plan.source, "break")
    yield "people and faces", f"{context.summary.people} and {context.summary.images}"
    yield "sha256 of summary.json", Cell(sha256_of(summary), "break")


def _recognizers(context: Context) -> Iterator[Sequence[str | Cell]]:
    for model in context.plan.models:
        found = context.summary.recognizers.get(model.card.name)
        places = ", ".join(found.devices) if found else ""
        weighting = found.weighting if found else None
        yield (
            model.card.name,
            f"{model.precision}{' on ' if places else ''}{places}",
            weighting or "–",
            model.card.license or "not stated",
            Cell(model.card.source or "not stated", "break"),
            Cell(model.sha256, "break"),
        )


def _repeat(plan: Plan) -> Iterator[Part]:
    if plan.settings.audit:
        yield Text(_REPEAT_AUDIT)
        yield Code(command_of(plan))
        return
    yield Text(_REPEAT)
    yield Code(command_of(plan))
    yield Fold(_PRESET, [Code("\n".join(preset_lines(plan.settings)))])


def command_of(plan: Plan) -> str:
    """A command that gives the same figures. Words in capitals stand for what the plan does not have."""
    settings, pictures = plan.settings, Counter(image.person for image in plan.images)
    source = plan.source if pictures else "DATA"
    words = ["leam", "audit" if settings.audit else "study"]
    words += ["PICTURES", "--pairs", source] if plan.pairs else [source]
    words += ["--out", "run", "--models", ",".join(model.card.name for model in plan.models)]
    if pictures and not plan.pairs:
        words += ["--people", str(len(pictures)), "--images", str(max(pictures.values()))]
    if settings.groups:
        words += ["--people-table", "PEOPLE"]
    if not settings.audit:
        return shlex.join([*words, "--preset", _PRESET])
    for column in settings.groups:
        words += ["--group", column]
    for name in ("threshold", "fmr", "parser", "detector", "rotate", "seed"):
        value = getattr(settings, name)
        words += [] if value is None else [f"--{name}", str(value)]
    return shlex.join(words)


def _written(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
