"""How often nominal 95 % intervals of a mean, and of the difference of two means, contain the true value.

python benchmarks/interval_coverage.py            # writes benchmarks/interval_coverage.json, three minutes on one core

Samples of 10, 20 and 50 people are drawn from distributions of growing skewness. Compared are LEAM's intervals
(bootstrap-t), percentile intervals, which it used before, and expanded percentile intervals, which it uses for figures
without a standard error.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from leam.metrics.statistics import (
    Estimate,
    Numbers,
    bootstrap_difference,
    bootstrap_means,
    central,
    estimate,
    resamples,
)

OUT = Path(__file__).with_suffix(".json")
SIZES = (10, 20, 50)
SAMPLES = 4000
REPEATS = 1000
# A difference is computed sample by sample.
DIFFERENCES = 1000

Draw = Callable[[np.random.Generator, tuple[int, int]], Numbers]

DISTRIBUTIONS: dict[str, tuple[Draw, float]] = {
    "normal": (lambda draw, size: draw.normal(size=size), 0.0),
    "lognormal, sigma 0.5 (skewness 1.8)": (
        lambda draw, size: draw.lognormal(0, 0.5, size),
        float(np.exp(0.125)),
    ),
    "exponential (skewness 2)": (lambda draw, size: draw.exponential(size=size), 1.0),
    "lognormal, sigma 1 (skewness 6.2)": (
        lambda draw, size: draw.lognormal(0, 1, size),
        float(np.exp(0.5)),
    ),
}
"""By name: how to draw values, and their true mean."""


def covered(found: list[Estimate], true: float) -> float:
    """The fraction of intervals that contain the true value."""
    return float(
        np.mean(
            [
                one.low is not None and one.high is not None and one.low <= true <= one.high
                for one in found
            ]
        )
    )


def of_means(draw: Draw, true: float, people: int) -> dict[str, float]:
    """The coverage of each kind of interval of a mean."""
    values = draw(np.random.default_rng(people), (people, SAMPLES))
    means = np.concatenate([w @ values / people for w in resamples(people, 0, REPEATS)])
    observed = values.mean(axis=0).tolist()
    return {
        "bootstrap-t": covered(bootstrap_means(values, np.arange(people), 0, REPEATS), true),
        "percentile": covered(
            [central(m, d, people) for m, d in zip(observed, means.T, strict=True)], true
        ),
        "expanded percentile": covered(
            [estimate(m, d, people) for m, d in zip(observed, means.T, strict=True)], true
        ),
    }


def of_differences(draw: Draw, true: float, people: int) -> float:
    """The coverage of the difference between two groups, the second twice as large, with half the deviation."""
    generator = np.random.default_rng(people)
    found = [
        bootstrap_difference(
            draw(generator, (1, people))[0],
            draw(generator, (1, 2 * people))[0] / 2,
            seed,
            REPEATS,
        )
        for seed in range(DIFFERENCES)
    ]
    return covered(found, true / 2)


def main() -> None:
    """Measure, print and write the coverage."""
    found = {
        name: {
            str(people): {
                **of_means(draw, true, people),
                "difference of two groups, bootstrap-t": of_differences(draw, true, people),
            }
            for people in SIZES
        }
        for name, (draw, true) in DISTRIBUTIONS.items()
    }
    OUT.write_text(json.dumps({"samples": SAMPLES, "coverage": found}, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
