"""Measures: pure functions from maps, masks, regions and embeddings to numbers."""

from leam.measures.bhattacharyya import bhattacharyya
from leam.measures.critical import critical_mask
from leam.measures.fills import occlude
from leam.measures.occlusion import drop
from leam.measures.registry import MEASURES, measure
from leam.measures.shares import region_areas, region_densities, region_shares
from leam.measures.statistics import Estimate, bootstrap_mean, bootstrap_pair_mean

__all__ = [
    "MEASURES",
    "Estimate",
    "bhattacharyya",
    "bootstrap_mean",
    "bootstrap_pair_mean",
    "critical_mask",
    "drop",
    "measure",
    "occlude",
    "region_areas",
    "region_densities",
    "region_shares",
]
