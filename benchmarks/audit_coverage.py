"""How often nominal 95 % intervals of error rates contain the true rate, in simulated audits.

python benchmarks/audit_coverage.py      # writes benchmarks/audit_coverage.json

Simulated people differ in how distinct they are and in how much their pictures vary, so that errors concentrate on
some of them. The true rates are those of 8 million independent comparisons. The rule, stated before the measurement:
an interval is right if it covers the true rate in 93 to 97 % of the audits, plus or minus two binomial standard errors.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from leam.metrics.error_rates import (
    Comparisons,
    ErrorCurve,
    eer_estimate,
    equal_error_rate,
    fmr_estimate,
    fnmr_at_fmr,
    fnmr_estimate,
    least_fmr,
)
from leam.metrics.group_rates import difference
from leam.metrics.statistics import Estimate, Numbers
from leam.version import installed_versions

OUT = Path(__file__).with_suffix(".json")
DIMENSIONS = 12
AUDITS = 400
SIZES = ((40, 3), (100, 3), (200, 2))
RATES = (0.1, 0.01, 0.001)


def faces(people: int, pictures: int, generator: np.random.Generator) -> Numbers:
    """Unit embeddings ``(people, pictures, DIMENSIONS)``."""
    centres = generator.normal(size=(people, 1, DIMENSIONS)) + np.eye(DIMENSIONS)[0] * 0.8
    spread = np.exp(generator.normal(-0.35, 0.35, size=(people, 1, 1)))
    found = centres + spread * generator.normal(size=(people, pictures, DIMENSIONS))
    return np.asarray(found / np.linalg.norm(found, axis=2, keepdims=True))


def audited(people: int, pictures: int, generator: np.random.Generator) -> Comparisons:
    """All comparisons of an audit's pictures."""
    embeddings = faces(people, pictures, generator).reshape(-1, DIMENSIONS)
    person = np.repeat(np.arange(people), pictures)
    first, second = np.triu_indices(len(person), 1)
    scores = (embeddings @ embeddings.T)[first, second]
    return Comparisons(scores, person[first], person[second], people)


def true_curve(generator: np.random.Generator) -> ErrorCurve:
    """Both rates at many thresholds, from people of whom each is compared once."""
    genuine, impostors = [], []
    for _ in range(20):
        some = faces(400_000, 2, generator)
        genuine.append((some[:, 0] * some[:, 1]).sum(axis=1))
        impostors.append((some[:-1, 0] * some[1:, 1]).sum(axis=1))
    thresholds = np.linspace(-1, 1, 20_001)
    fmr = 1 - np.searchsorted(np.sort(np.concatenate(impostors)), thresholds) / 8e6
    fnmr = np.searchsorted(np.sort(np.concatenate(genuine)), thresholds) / 8e6
    return ErrorCurve(thresholds, fmr, fnmr)


def covers(found: Estimate, true: float) -> bool:
    """Whether the interval contains the true value."""
    return found.low is not None and found.high is not None and found.low <= true <= found.high


def main() -> None:
    """Simulate the audits and count."""
    generator = np.random.default_rng(0)
    curve = true_curve(generator)
    eer = equal_error_rate(curve).rate
    counts: dict[str, list[bool]] = defaultdict(list)
    for people, pictures in SIZES:
        of_size = f"{people} people, {pictures} pictures each"
        for audit in range(AUDITS):
            some, other = (audited(people, pictures, generator) for _ in range(2))
            least = least_fmr(len(some.impostors.scores)) or 1
            counts[f"{of_size}: EER"].append(covers(eer_estimate(some, audit), eer))
            for rate in RATES:
                if rate < least:
                    continue
                place = int(np.argmax(curve.fmr <= rate))
                threshold, fmr, fnmr = (
                    float(values[place]) for values in (curve.thresholds, curve.fmr, curve.fnmr)
                )
                matches = fmr_estimate(some.impostors, threshold, audit)
                gap = difference(matches, fmr_estimate(other.impostors, threshold, audit))
                found = {
                    "FMR": covers(matches, fmr),
                    "FNMR": covers(fnmr_estimate(some.genuine, threshold, audit), fnmr),
                    "FNMR at this FMR": covers(fnmr_at_fmr(some, rate, audit).fnmr, fnmr),
                    "difference of two groups' FMR": covers(gap, 0.0),
                }
                for name, hit in found.items():
                    counts[f"{of_size}: {name}, FMR {rate:g}"].append(hit)
        print(of_size, flush=True)
    figures = {
        name: {"covered": float(np.mean(hits)), "audits": len(hits)}
        for name, hits in counts.items()
    }
    pooled = {
        kind: float(
            np.mean(np.concatenate([hits for name, hits in counts.items() if f": {kind}" in name]))
        )
        for kind in ("EER", "FMR", "FNMR,", "FNMR at", "difference")
    }
    OUT.write_text(
        json.dumps(
            {"coverage": figures, "pooled": pooled, "versions": installed_versions()}, indent=2
        )
        + "\n"
    )
    print(json.dumps(figures, indent=2), pooled)


if __name__ == "__main__":
    main()
