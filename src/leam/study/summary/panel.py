"""What the close look at the panel found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from leam.metrics.statistics import Numbers
from leam.metrics.verification import STEPS
from leam.study.occluding import CRITICAL
from leam.study.panel import ORDERS, PANEL, SWAPPED, WAYS
from leam.study.plan import Plan
from leam.study.store import RunFolder
from leam.study.summary.estimates import Summary, over_people, owners_of
from leam.study.tables import shards


def panel_figures(plan: Plan, folder: RunFolder, name: str) -> Summary:
    """Curves under every fill, verification, sanity, stability and swaps of a model, over the panel's people.

    Returns:
        ``curves``: by fill and mask, the drop at each top fraction; ``verification``: by deletion and insertion, by map
        and random order, the area under the accuracy curve and the curve; ``sanity``: likeness to the true map after
        each fifth of the layers is randomised; ``stability``: sensitivity to noise and likeness to the mirror
        image's map; ``swap``: how well exchanged regions are ranked.
    """
    parts = list(shards(plan, folder, f"{PANEL}/{name}"))
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    owners, seed = owners_of(plan, arrays["position"]), plan.settings.seed

    def estimate(values: Numbers) -> Summary:
        return over_people(values, owners, seed)

    return {
        "curves": _curves(arrays["grid"], plan, owners),
        "verification": _verification(arrays["right"], owners, seed),
        "sanity": [
            {
                "randomised": (step + 1) / arrays["rank"].shape[1],
                "rank": estimate(arrays["rank"][:, step]),
                "ssim": estimate(arrays["ssim"][:, step]),
            }
            for step in range(arrays["rank"].shape[1])
        ],
        "stability": {
            "max_sensitivity": estimate(arrays["sensitivity"]),
            "flip_consistency": estimate(arrays["flip"]),
        },
        "swap": {region: estimate(arrays["swap"][:, i]) for i, region in enumerate(SWAPPED)},
    }


def _curves(grid: Numbers, plan: Plan, owners: NDArray[np.int64]) -> Summary:
    settings = plan.settings
    return {
        fill: {
            mask: [
                {"fraction": fraction, **over_people(grid[:, f, k, t], owners, settings.seed)}
                for t, fraction in enumerate(settings.curve)
            ]
            for k, mask in enumerate((CRITICAL, *settings.baselines))
        }
        for f, fill in enumerate(settings.fills)
    }


def _verification(right: NDArray[np.bool_], owners: NDArray[np.int64], seed: int) -> Summary:
    """Accuracy as pixels go or come: a person's part is the mean of its same and its different pair."""
    accuracy = right.mean(axis=1)
    # The mean height by trapezoids, of each person's own curve: the area of the mean curve is the mean of the areas.
    areas = (accuracy[..., 1:] + accuracy[..., :-1]).mean(axis=-1) / 2
    return {
        way: {
            order: {
                "area": over_people(areas[:, w, o], owners, seed),
                "curve": [
                    {"fraction": step / STEPS, **over_people(accuracy[:, w, o, step], owners, seed)}
                    for step in range(STEPS + 1)
                ],
            }
            for o, order in enumerate(ORDERS)
        }
        for w, way in enumerate(WAYS)
    }
