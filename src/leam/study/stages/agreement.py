"""Agreement: whether recognizers rely on the same parts of the same face."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.masks import critical_mask
from leam.metrics.overlap import cluster, map_agreement, profile_divergences, rank_agreement
from leam.metrics.statistics import Estimate, Numbers
from leam.results.figures import Figures, Model, PairedDifference
from leam.results.shards import Shard
from leam.study.explained import EXPLAIN, Explained
from leam.study.masks import carried_maps
from leam.study.plan import Plan
from leam.study.run_data import RunData, mean_of_known
from leam.study.scene import probe_rows
from leam.study.stage import STAGES, Stage
from leam.study.stages.regions import RegionShares

Matrix = list[list[Estimate]]

_KINDS = ("critical", "rank", "regions")
_LAYERS = ("within", "between", "unrelated")
# Relative depths at which layers are compared; fewer if a recognizer has fewer layers.
_DEPTHS = 10


class AgreementFigures(Figures):
    """Similarity of the recognizers' maps of the same face, resampled to the chip of the first recognizer."""

    class Divergences(Model):
        """Mean Jensen-Shannon divergences, in bits, between the region profiles of two single layers for the same face.

        Layers are taken at equal steps of relative depth, from the first to the last one. Every kind compares two
        single layers, so that averaging over layers makes none of them smaller.
        """

        within: Estimate
        """Two layers of one recognizer at different relative depths."""
        between: Estimate
        """Layers of two recognizers at the same relative depth."""
        unrelated: Estimate
        """Layers of two recognizers at different relative depths."""
        margin: PairedDifference
        """``within`` minus ``between``."""

    recognizers: list[str]
    """Rows and columns of the matrices."""
    critical: Matrix
    """Bhattacharyya coefficient of critical masks."""
    rank: Matrix
    """Rank correlation of whole maps."""
    regions: Matrix
    """Jensen-Shannon divergence of region profiles, in bits."""
    depths: int
    """Number of relative depths at which layers are compared."""
    layers: Divergences
    """Divergences between layers, as a mean over the recognizers."""
    layers_of: dict[str, Divergences]
    """Divergences between layers by recognizer; those between recognizers are means over the others."""
    order: list[str]
    """The recognizers in the leaf order of the cluster tree by ``critical``."""
    merges: list[list[float]]
    """SciPy's linkage of the recognizers by ``critical``: two clusters, their distance, and the size of the merged
    cluster."""


@STAGES("agreement")
class Agreement(Stage[Shard]):
    """Compares the maps of each pair of recognizers on the study's probes, and clusters the recognizers."""

    name = "agreement"
    title = "agreement of recognizers"
    needs = (EXPLAIN, "regions")
    figures = AgreementFigures

    def applies(self, plan: Plan) -> bool:
        """Whether the study has several recognizers."""
        return len(plan.models) > 1

    def summarise_study(self, run: RunData) -> AgreementFigures:
        """The matrices over people, and the clusters."""
        names = run.recognizers
        # Agreement is symmetric, so one number per face is kept for each pair of recognizers.
        first, second = np.triu_indices(len(names))
        found: dict[str, list[NDArray[np.float32]]] = {kind: [] for kind in (*_KINDS, *_LAYERS)}
        depths = 0
        positions: list[int] = []
        slices = len(run.plan.slices)
        for index, (maps, shares) in enumerate(_slices(run)):
            run.progress("comparing recognizers", index, slices)
            people = np.array([run.plan.images[p].person for p in maps[0].position])
            rows = probe_rows(people, run.settings.probes)
            for kind, agreement in _compare(rows, maps, shares, run.settings.top).items():
                found[kind].append(agreement.float().numpy()[:, first, second])
            masses = [one.mass[rows, 1:] for one in shares]
            depths = min(_DEPTHS, *(mass.shape[1] for mass in masses))
            for kind, divergence in _layer_divergences(masses, depths).items():
                found[kind].append(divergence)
            positions.extend(maps[0].position[rows].tolist())
        run.progress("comparing recognizers", slices, slices)
        owners = run.owners(positions)
        values = {kind: np.concatenate(parts) for kind, parts in found.items()}
        matrices = {
            kind: _matrix(run.estimates(pairs, owners), len(names))
            for kind, pairs in values.items()
            if kind in _KINDS
        }
        layers = {kind: values[kind].astype(np.float64) for kind in _LAYERS}
        means = np.array([[cell.mean or 0.0 for cell in row] for row in matrices["critical"]])
        clusters = cluster(means)
        return AgreementFigures(
            recognizers=names,
            **matrices,
            depths=depths,
            layers=_divergences(
                run, {kind: mean_of_known(one, axis=1) for kind, one in layers.items()}, owners
            ),
            layers_of={
                name: _divergences(run, {k: one[:, place] for k, one in layers.items()}, owners)
                for place, name in enumerate(names)
            },
            order=[names[index] for index in clusters.order],
            merges=clusters.merges.round(6).tolist(),
        )


def _matrix(pairs: list[Estimate], count: int) -> Matrix:
    """Build a symmetric matrix with ``count`` rows from its upper triangle, given row by row."""
    places = np.zeros((count, count), dtype=int)
    places[np.triu_indices(count)] = np.arange(len(pairs))
    return [[pairs[place] for place in row] for row in np.maximum(places, places.T).tolist()]


def _slices(run: RunData) -> Iterator[tuple[list[Explained], list[RegionShares]]]:
    """For each slice, the maps and region shares of all recognizers."""
    for index, _ in enumerate(run.plan.slices):
        maps, shares = [], []
        for name in run.recognizers:
            one = run.folder.read_shard(
                Explained, f"{EXPLAIN}/{name}", index, ["position", "density", "matrix"]
            )
            other = run.folder.read_shard(RegionShares, f"regions/{name}", index, ["mass"])
            if one is not None and other is not None:
                maps.append(one)
                shares.append(other)
        if len(maps) == len(run.recognizers):
            yield maps, shares


def _compare(
    rows: NDArray[np.intp],
    maps: Sequence[Explained],
    shares: Sequence[RegionShares],
    top: float,
) -> dict[str, Tensor]:
    """Agreement between the recognizers' maps, ``(n, M, M)`` each; NaN if a recognizer has no map of the face."""
    size = (maps[0].density.shape[1], maps[0].density.shape[2])
    targets = maps[0].matrix[rows]
    carried = torch.stack([carried_maps(one, rows, targets, size) for one in maps])
    critical = map_agreement(critical_mask(carried, top))
    silent = carried.sum(dim=(2, 3)).T == 0
    critical[silent[:, :, None].expand_as(critical)] = torch.nan
    critical[silent[:, None, :].expand_as(critical)] = torch.nan
    profiles = torch.from_numpy(np.stack([one.mass[rows, 0] for one in shares], axis=1))
    return {
        "critical": critical,
        "rank": rank_agreement(carried),
        "regions": profile_divergences(profiles),
    }


def _layer_divergences(
    masses: Sequence[NDArray[np.float32]], depths: int
) -> dict[str, NDArray[np.float32]]:
    """Each recognizer's mean divergences of each kind, ``(n, M)``; NaN if there is no such pair of layers.

    Args:
        masses: Region profiles of each recognizer's layers, ``(n, L, R)`` with its own ``L``.
        depths: Number of relative depths; 0 for methods without layer maps.
    """
    if depths == 0:
        unknown = np.full((len(masses[0]), len(masses)), np.nan, dtype=np.float32)
        return dict.fromkeys(_LAYERS, unknown)
    chosen = [np.linspace(0, mass.shape[1] - 1, depths).round().astype(int) for mass in masses]
    profiles = [mass[:, layers] for mass, layers in zip(masses, chosen, strict=True)]
    joined = torch.from_numpy(np.concatenate(profiles, axis=1))
    pairs = profile_divergences(joined).numpy()
    pairs = pairs.reshape(-1, len(masses), depths, len(masses), depths)
    one, depth, other, other_depth = np.indices(pairs.shape[1:])
    kinds = {
        "within": (one == other) & (depth != other_depth),
        "between": (one != other) & (depth == other_depth),
        "unrelated": (one != other) & (depth != other_depth),
    }
    return {
        kind: mean_of_known(np.where(wanted, pairs, np.nan), axis=(2, 3, 4)).astype(np.float32)
        for kind, wanted in kinds.items()
    }


def _divergences(
    run: RunData, values: Mapping[str, Numbers], owners: NDArray[np.int64]
) -> AgreementFigures.Divergences:
    """The divergences of each kind over people."""
    return AgreementFigures.Divergences(
        **{kind: run.estimate(one, owners) for kind, one in values.items()},
        margin=run.paired(values["within"] - values["between"], owners),
    )
