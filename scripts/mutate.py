"""Plant faults in the report, the summary and the tables, one at a time, and see whether the tests notice.

    python scripts/mutate.py            # all faults; exit code 1 where one survives
    python scripts/mutate.py --list
    python scripts/mutate.py transfer   # the faults whose name contains this

Each fault is a source patch in a temporary copy of ``src/leam``; the tree itself is not changed. A fault is caught if
the tests that guard its place fail. The same tests must pass on the unchanged source.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import gc
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Loaded once, before processes are made; slow to import, and nothing of this package.
PRELOADED = [
    "altair",
    "cv2",
    "jinja2",
    "polars",
    "pydantic",
    "pytest",
    "scipy.cluster.hierarchy",
    "scipy.stats",
    "torch",
]
SECTIONS = ("report/test_sections.py",)
CHARTS = ("report/test_section_charts.py",)
PICTURES = ("report/test_pictures.py",)
DRAWING = ("report/test_drawing.py", *CHARTS)
CLAIMS = ("report/test_claims.py",)
FINDINGS = ("report/test_findings.py",)
COMPARED = ("compare/test_runs.py",)
FIGURES = ("study/test_stage_figures.py",)
STATISTICS = ("metrics/test_statistics.py",)
AFFINE = ("explain/test_affine.py",)
TABLES = ("study/test_tables.py",)
CAUGHT, SURVIVED, BROKEN = "caught", "survived", "broken"


@dataclass(frozen=True)
class Fault:
    """One wrong line.

    Attributes:
        name: What is wrong, in words.
        file: In ``src/leam``.
        old: What stands there; exactly once.
        new: What is planted.
        tests: The tests that must notice, in ``tests``.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def section(name: str) -> str:
    """The file of a section of the report."""
    return f"report/sections/{name}.py"


def drawing(name: str) -> str:
    """A file of the drawing of charts."""
    return f"report/drawing/{name}.py"


def stage(name: str) -> str:
    """The file of a stage of a study."""
    return f"study/stages/{name}.py"


FAULTS = [
    # The report's text and tables.
    Fault("facts: people and faces swapped", section("facts"),
          "(summary.people, noun_for(summary.people,", "(summary.images, noun_for(summary.people,", SECTIONS),
    Fault("numbers: mean and lower end swapped", "report/parts.py",
          "for end in (found.mean, found.low, found.high)", "for end in (found.low, found.mean, found.high)", SECTIONS),
    Fault("numbers: percent too small by ten", "report/parts.py",
          "return number(found, 1, 100)", "return number(found, 1, 10)", SECTIONS),
    Fault("regions table: share instead of mass", section("regions"),
          "percent(one.mass),", "percent(one.share),", SECTIONS),
    Fault("second parser table: the second parser's share twice", section("second_parser"),
          "percent(own[region].share)", "percent(one.share)", SECTIONS),
    Fault("specificity table: genuine and impostor pairs swapped", section("specificity"),
          "number(one.genuine),\n                number(one.impostor),",
          "number(one.impostor),\n                number(one.genuine),", SECTIONS),
    Fault("specificity table: columns rotated", section("specificity"),
          "number(one.auc),\n                number(one.chance.auc),\n                plain(one.p, 3),",
          "plain(one.p, 3),\n                number(one.auc),\n                number(one.chance.auc),",
          SECTIONS),
    Fault("occlusion table: all margins of one control", section("occlusion"),
          "figures.margins.get(mask)", "figures.margins.get(mask and 'moved')", SECTIONS),
    Fault("effect table: the population's margin over another person's", section("effect"),
          'margins["population"].drop', 'margins["another person"].drop', SECTIONS),
    Fault("effect table: edges of the same picture for both", section("effect"),
          "one.contrasts[_EDGES_OF[picture]]", 'one.contrasts[_EDGES_OF["same"]]', SECTIONS),
    Fault("effect table: the verdict without edges", section("effect"),
          '"edges": "own_beyond_edges"', '"edges": "own_other_person"', SECTIONS),
    Fault("specificity controls: AUC of the critical masks and of the control swapped", section("specificity"),
          "number(one.critical),\n                number(one.auc),",
          "number(one.auc),\n                number(one.critical),", SECTIONS),
    Fault("regions table: edges and random weights swapped", section("regions"),
          "percent(one.edges),", "percent(one.random_weights),", SECTIONS),
    Fault("curves table: first point of every fraction", section("curves"),
          "*(plain(point.value.mean, 4) for point in points),", "*(plain(points[0].value.mean, 4) for _ in points),",
          SECTIONS),
    Fault("verification table: map instead of random", section("verification"),
          "number(one.deletion.random.area),", "number(one.deletion.map.area),", SECTIONS),
    Fault("verification table: deletion and insertion swapped", section("verification"),
          "number(one.insertion.map.area),", "number(one.deletion.map.area),", SECTIONS),
    Fault("sanity table: the first step instead of the last", section("sanity"),
          "(name, figures.steps[-1]) for name", "(name, figures.steps[0]) for name", SECTIONS),
    Fault("stability table: columns swapped", section("stability"),
          "number(one.max_sensitivity),\n                    number(one.flip_consistency),",
          "number(one.flip_consistency),\n                    number(one.max_sensitivity),", SECTIONS),
    Fault("transfer table: own mask and others' swapped", section("transfer"),
          "number(one.own, 4),\n                    number(one.others, 4),",
          "number(one.others, 4),\n                    number(one.own, 4),", SECTIONS),
    Fault("groups table: p not corrected", section("groups"),
          "plain(row.p_adjusted, 4),", "plain(row.p, 4),", SECTIONS),
    Fault("groups table: matched on all instead of on pose", section("groups"),
          "number(row.matched.difference, 4),", "number(row.matched_on_all.difference, 4),", SECTIONS),
    Fault("exclusions: the first one dropped", section("exclusions"),
          "for one in found[:_MOST]]", "for one in found[1:_MOST]]", SECTIONS),
    Fault("exclusions: section dropped", section("exclusions"),
          "return bool(context.summary.exclusions)", "return len(context.summary.exclusions) > 200", SECTIONS),
    Fault("provenance: hash of the recognizers rotated", section("provenance"),
          "Cell(model.sha256,", "Cell(context.plan.models[0].sha256,", SECTIONS),
    # The report's charts.
    Fault("regions chart: share instead of area", section("regions"),
          "float(np.mean([one.regions[region].area.mean or 0", "float(np.mean([one.regions[region].share.mean or 0",
          CHARTS),
    Fault("regions chart: smallest share on top", section("regions"),
          "key=lambda region: -means[region]", "key=lambda region: means[region]", CHARTS),
    Fault("specificity chart: labels of the series swapped", section("specificity"),
          '"genuine pairs",\n                    [figures', '"impostor pairs",\n                    [figures', CHARTS),
    Fault("specificity chart: critical pixels instead of whole maps", section("specificity"),
          "[figures.operands[operand].genuine for", '[figures.operands["critical"].genuine for', CHARTS),
    Fault("specificity chart: recognizers out of order", section("specificity"),
          "        Panel(\n            list(found),", "        Panel(\n            list(found)[::-1],", CHARTS),
    Fault("histograms: genuine and impostor pairs swapped", section("specificity"),
          '"genuine pairs": one.histogram.genuine,', '"genuine pairs": one.histogram.impostor,', CHARTS),
    Fault("occlusion chart: one control for all", section("occlusion"),
          "else figures.controls[mask]", "else figures.controls[controls[0]]", CHARTS),
    Fault("curves chart: the first fill in every panel", section("curves"),
          "[_number(point.value.mean) for point in figures.curves[fill][mask]]",
          "[_number(point.value.mean) for point in figures.curves[next(iter(first))][mask]]", CHARTS),
    Fault("charts: cosines and distances on one axis", "report/section.py",
          "if kinds[name] == kind}", "if kinds[name]}", CHARTS),
    Fault("verification chart: deletion and insertion swapped", section("verification"),
          '("deletion", "deleted", [figures.deletion for', '("deletion", "deleted", [figures.insertion for', CHARTS),
    Fault("verification chart: map and random swapped", section("verification"),
          "[order.map for order in orders]", "[order.random for order in orders]", CHARTS),
    Fault("sanity chart: rank correlation in both panels", section("sanity"),
          "charted(step.ssim) for step", "charted(step.rank) for step", CHARTS),
    Fault("agreement chart: not ordered by cluster", section("agreement"),
          "for j in order] for i in order]", "for j in sorted(order)] for i in sorted(order)]", CHARTS),
    Fault("agreement chart: rank correlations of critical masks", section("agreement"),
          'found.critical if kind == "critical" else found.rank', "found.critical", CHARTS),
    Fault("transfer chart: transposed", section("transfer"),
          "list(found.values()),",
          "[[list(found.values())[j % len(found)][i] for j, _ in enumerate(masks)] for i, _ in enumerate(found)],",
          CHARTS),
    Fault("groups chart: matched on all instead of on pose", section("groups"),
          "[row.matched.difference for row in found.values()]",
          "[row.matched_on_all.difference for row in found.values()]", CHARTS),
    Fault("groups chart: all figures instead of the similarity drop", section("groups"),
          "if row.of == DROP and (row.first", "if (row.first", CHARTS),
    Fault("layers chart: late layers first", section("layers"),
          "cells[region][layer.depth - 1] =", "cells[region][-layer.depth] =", CHARTS),
    Fault("layers chart: names of late layers first", section("layers"),
          "names[layer.depth - 1] =", "names[-layer.depth] =", CHARTS),
    Fault("layers chart: mass not divided by area", section("layers"),
          "= mass.linear(1 / area)", "= mass", CHARTS),
    Fault("drawing: row labels reversed", drawing("rows"),
          "zip(panel.rows, series.estimates, strict=True)", "zip(panel.rows[::-1], series.estimates, strict=True)",
          DRAWING),
    Fault("drawing: rows from bottom to top", drawing("rows"),
          "alt.Scale(domain=list(panel.rows), padding", "alt.Scale(domain=list(panel.rows)[::-1], padding", DRAWING),
    Fault("drawing: intervals from the mean", drawing("rows"),
          '"x": axes.x("low"), "x2"', '"x": axes.x("mean"), "x2"', DRAWING),
    Fault("drawing: few people are not faint", drawing("rows"),
          '"strength": FAINT if given.n < FEWEST else 1', '"strength": 1', DRAWING),
    Fault("drawing: the interval's end on hovering", drawing("rows"),
          '"value": written(mean),\n                "interval"', '"value": written(high),\n                "interval"',
          DRAWING),
    Fault("drawing: panels with scales of their own", drawing("rows"),
          "ends[k] = widest", "ends[k] = ends[k]", DRAWING),
    Fault("drawing: lines of few people are not dotted", drawing("lines"),
          '"few" if few else "many"', '"many"', DRAWING),
    Fault("drawing: a line goes on where there is no value", drawing("lines"),
          '"y": y,\n', '"y": y or 0,\n', DRAWING),
    Fault("drawing: bins one place to the right", drawing("histograms"),
          '"low": low,\n                "high": high,', '"low": high,\n                "high": 2 * high - low,',
          DRAWING),
    Fault("drawing: numbers of a matrix transposed", drawing("tables"),
          "zip(rows, cells, strict=True)", "zip(rows, zip(*cells, strict=True), strict=True)", DRAWING),
    Fault("drawing: a colour scale for each matrix", drawing("tables"),
          "chart.highest or shared_highest(means)", "shared_highest(means)", DRAWING),
    Fault("drawing: colours diverge from half of the highest value", drawing("tables"),
          "np.linspace(0, chart.chance, half)", "np.linspace(0, chart.highest / 2, half)", DRAWING),
    Fault("drawing: leaves of a tree in reverse order", drawing("tables"),
          'enumerate(drawn["ivl"])', 'enumerate(drawn["ivl"][::-1])', DRAWING),
    # Pictures.
    Fault("gallery: people in reverse order", "report/pictures.py",
          "descending=[True, False])", "descending=[False, False])", PICTURES),
    Fault("gallery: least under the heading of most", section("specificity"),
          '("Most person-specific", people.most)', '("Most person-specific", people.least)', PICTURES),
    Fault("layer pictures: late layers first", "report/pictures.py",
          "_on_face(means, means.layers[place], crop", "_on_face(means, means.layers[-1 - place], crop", PICTURES),
    Fault("mean map of one slice only", "study/means.py",
          "overall = density if overall is None else overall + density", "overall = density", PICTURES),
    # Claims.
    Fault("claims: controls that are maps of others", "report/claims.py",
          "for control, margin in found.margins[fill].items()\n            if control not in MAPS_OF_OTHERS",
          "for control, margin in found.margins[fill].items()\n            if control in MAPS_OF_OTHERS", CLAIMS),
    Fault("claims: the other contrast with the population", "report/claims.py",
          '"population": "other_picture_population"', '"population": "own_population"', CLAIMS),
    Fault("claims: men instead of women", "report/claims.py",
          'signs = [1 if row.first == "female"', 'signs = [1 if row.first == "male"', CLAIMS),
    Fault("findings: what is denied is stated", "report/findings.py",
          '"not supported": claim.denied.format(control=control)', '"not supported": claim.supported', FINDINGS),
    Fault("findings: a large region counts as favoured", "report/findings.py",
          "name: one.share.mean - one.area.mean", "name: one.share.mean", FINDINGS),
    # Two studies.
    Fault("compare: first minus second", "compare/runs.py",
          "_mean(after - before, seed), len(common)", "_mean(before - after, seed), len(common)", COMPARED),
    Fault("compare: numbered people are paired", "compare/runs.py",
          "named = runs[0].named and runs[1].named", "named = True", COMPARED),
    Fault("compare: an uncorrected interval decides", "compare/runs.py",
          "excluded and p_holm < _LEVEL", "excluded", COMPARED),
    Fault("verdict: one control is enough", "metrics/statistics.py",
          "if all(one.low is not None and one.low > 0", "if any(one.low is not None and one.low > 0", STATISTICS),
    Fault("verdict: mean instead of the lower end", "metrics/statistics.py",
          "if all(one.low is not None and one.low > 0", "if all(one.mean is not None and one.mean > 0", STATISTICS),
    # Where layers are taken.
    Fault("layers: what depends on the picture counts as frozen", "explain/affine.py",
          "if any(self.number(tensor) in self._varying for tensor, _ in reads):", "if False:", AFFINE),
    Fault("layers: an activation counts as affine", "explain/affine.py",
          "if not bool(((run(values.clone()) - expected).abs() <= limit).all()):", "if False:", AFFINE),
    Fault("layers: another reader is overlooked", "explain/affine.py",
          "(number, version), [])) == 1:", "(number, version), [])) >= 1:", AFFINE),
    Fault("layers: gradients are not divided by the scale", "explain/layers.py",
          "torch.where(scale == 0, 0.0, grid / scale)", "grid", AFFINE),
    # The summary and the figures of the stages.
    Fault("summary: an exclusion dropped", "study/summary.py",
          "exclusions=exclusions,", "exclusions=exclusions[1:],", FIGURES),
    Fault("summary: pictures counted as people", "study/summary.py",
          "people=len(run.people),", "people=len(positions),", FIGURES),
    Fault("occlusion: margins with the wrong sign", stage("occlusion"),
          '{mask: own - rows[mask]["drop"].to_numpy() for',
          '{mask: rows[mask]["drop"].to_numpy() - own for', FIGURES),
    Fault("occlusion: the largest piece as the number of pieces", stage("occlusion"),
          "Pieces(count=count,", "Pieces(count=largest,", FIGURES),
    Fault("effect: energy as drop", stage("effect"),
          "drops, energies = by_person(drop, owners)", "drops, energies = by_person(energy, owners)", FIGURES),
    Fault("effect: edges not subtracted", stage("effect"),
          "**{mask: -weight for mask, weight in _EDGES.items()}", "**{mask: weight for mask, weight in _EDGES.items()}",
          FIGURES),
    Fault("regions: random weights as edges", stage("regions"),
          'name: found[f"over_{name}"] for', 'name: found["over_edges"] for', FIGURES),
    Fault("specificity: the control's AUC as the claim's", stage("specificity"),
          "critical=margin.claim", "critical=margin.control", FIGURES),
    Fault("specificity: shares instead of densities", stage("specificity"),
          "np.divide(group.share, group.area,", "np.divide(group.share, 1,", FIGURES),
    Fault("curves: the fills in reverse order", stage("curves"),
          "grid.drop[:, f, m, t]", "grid.drop[:, -1 - f, m, t]", FIGURES),
    Fault("verification: map and random swapped", stage("verification"),
          "deletion=VerificationFigures.Orders(map=curve(0, 0), random=curve(0, 1))",
          "deletion=VerificationFigures.Orders(map=curve(0, 1), random=curve(0, 0))", FIGURES),
    Fault("sanity: rank correlation as structural similarity", stage("sanity"),
          "for values in (found.rank, found.ssim)", "for values in (found.rank, found.rank)", FIGURES),
    Fault("swap: regions in reverse order", stage("swap"),
          "found.ranking[:, place]", "found.ranking[:, -1 - place]", FIGURES),
    Fault("second parser: the first parser's shares", stage("second_parser"),
          "share=run.estimate(second.share[:, i], owners)", "share=run.estimate(first[:, i], owners)", FIGURES),
    Fault("specificity: genuine and impostor pairs swapped", stage("specificity"),
          'genuine=estimates["same"],', 'genuine=estimates["different"],', FIGURES),
    Fault("specificity table: columns swapped", stage("specificity"),
          "genuine, impostor = one.of_people()", "impostor, genuine = one.of_people()", FIGURES),
    Fault("transfer: random is the first recognizer's mask", stage("transfer"),
          "random=run.estimate(drops[:, -1], owners)", "random=run.estimate(drops[:, 0], owners)", FIGURES),
    Fault("agreement: not ordered by cluster", stage("agreement"),
          "merges=clusters.merges.round(6).tolist()", "merges=clusters.merges[::-1].round(6).tolist()", FIGURES),
    Fault("layers: depth from 0", stage("layers"),
          "if first else [], start=1)", "if first else [], start=0)", FIGURES),
    Fault("groups: p not corrected", stage("groups"),
          "p_adjusted=finite(adjusted)", "p_adjusted=finite(found.p)", FIGURES),
    Fault("groups: matched on pose and on all swapped", stage("groups"),
          "plain, matched, on_all =", "plain, on_all, matched =", FIGURES),
    # Tables.
    Fault("regions: mass in the column of shares", stage("regions"),
          '"share": found.share[:, :, columns].ravel()', '"share": found.mass[:, :, columns].ravel()', TABLES),
    Fault("layers: x and y swapped", stage("layers"),
          '"x": focus.centre[:, :, 0].ravel()', '"x": focus.centre[:, :, 1].ravel()', TABLES),
    Fault("occlusion: masks in reverse order", stage("occlusion"),
          '"mask": kinds * probes', '"mask": kinds[::-1] * probes', TABLES),
    Fault("curves: fractions and masks out of step", stage("curves"),
          "product(settings.fills, _masks(settings), settings.curve)",
          "product(settings.fills, _masks(settings)[::-1], settings.curve)", TABLES),
    Fault("transfer: masks in reverse order", stage("transfer"),
          '"mask": masks * len(found.position)', '"mask": masks[::-1] * len(found.position)', TABLES),
    Fault("faces: edges of the box rotated", "study/summary.py",
          'zip(("left", "top", "right", "bottom")', 'zip(("top", "right", "bottom", "left")', TABLES),
]  # fmt: skip


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "words", nargs="*", help="plant only the faults whose names contain one of these"
    )
    parser.add_argument("--list", action="store_true", help="print the faults and plant none")
    options = parser.parse_args()
    faults = [f for f in FAULTS if not options.words or any(w in f.name for w in options.words)]
    if options.list:
        print(*(f"{fault.name}  ({fault.file})" for fault in faults), sep="\n")
        return 0
    started = time.monotonic()
    outcomes = dict(plant(faults))
    for outcome in (SURVIVED, BROKEN):
        for name, found in outcomes.items():
            if found == outcome:
                print(f"{outcome}: {name}")
    caught = sum(found == CAUGHT for found in outcomes.values())
    seconds = time.monotonic() - started
    print(f"{caught} of {len(outcomes)} faults caught in {seconds:.0f} s")
    return 0 if caught == len(outcomes) else 1


def plant(faults: list[Fault]) -> list[tuple[str, str]]:
    """The outcome of every fault, and of none at all."""
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(PRELOADED)
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        compileall.compile_dir(source, quiet=1)

        def run(tests: tuple[str, ...]) -> int | None:
            process = context.Process(target=run_tests, args=(source, tests))
            process.start()
            process.join()
            return process.exitcode

        everything = tuple(dict.fromkeys(test for fault in faults for test in fault.tests))
        if run(everything) != 0:
            raise SystemExit("The tests fail without any fault: mend them first.")
        for fault in faults:
            path = source / "leam" / fault.file
            text = path.read_text(encoding="utf-8")
            if text.count(fault.old) != 1:
                outcomes.append((fault.name, BROKEN))
                continue
            stamp = path.stat().st_mtime
            path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
            # Compiled files are known by the time of their source.
            os.utime(path, (stamp + 60, stamp + 60))
            code = run(fault.tests)
            path.write_text(text, encoding="utf-8")
            os.utime(path, (stamp, stamp))
            # pytest: 0 for success, 1 for failed tests, more where they could not be run.
            outcomes.append((fault.name, {0: SURVIVED, 1: CAUGHT}.get(code or 0, BROKEN)))
            print(f"{outcomes[-1][1]:9} {fault.name}", flush=True)
    return outcomes


def run_tests(source: Path, tests: tuple[str, ...]) -> None:
    """Run tests against a copy of the source in this process, and exit with pytest's code."""
    sys.dont_write_bytecode = True
    # What was preloaded stays: pytest need not look through it for garbage.
    gc.freeze()
    sys.path.insert(0, str(source))
    os.environ |= {"PYTHONPATH": str(source), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    import pytest  # noqa: PLC0415

    import leam  # noqa: PLC0415

    if not Path(leam.__file__).is_relative_to(source):
        raise SystemExit(3)
    arguments = ["-q", "-x", "--assert=plain", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        code = pytest.main([*arguments, *(str(ROOT / "tests" / test) for test in tests)])
    raise SystemExit(int(code))


if __name__ == "__main__":
    sys.exit(main())
