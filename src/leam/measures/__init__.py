"""Measures: pure functions from maps, masks, regions and embeddings to numbers."""

from leam.measures.agreement import cluster, map_agreement, rank_agreement
from leam.measures.bhattacharyya import bhattacharyya
from leam.measures.critical import compact_mask, critical_mask
from leam.measures.divergence import hellinger, jensen_shannon, profile_divergences
from leam.measures.fills import occlude
from leam.measures.focus import centre_of_mass, spread
from leam.measures.gaps import gap, matched_gap
from leam.measures.geometry import carry_maps, carry_masks
from leam.measures.occlusion import drop, occlusion_curve
from leam.measures.registry import MEASURES, measure
from leam.measures.sanity import cascade, ssim
from leam.measures.shares import (
    cell_regions,
    cell_shares,
    region_areas,
    region_densities,
    region_shares,
)
from leam.measures.significance import benjamini_hochberg, label_permutation_p, sign_flip_p
from leam.measures.specificity import chance_level, person_maps
from leam.measures.stability import flip_consistency, max_sensitivity
from leam.measures.statistics import Estimate, bootstrap_mean
from leam.measures.swap import swap_ranking, swap_region
from leam.measures.transfer import transfer_drops
from leam.measures.verification import deletion, insertion

__all__ = [
    "MEASURES",
    "Estimate",
    "benjamini_hochberg",
    "bhattacharyya",
    "bootstrap_mean",
    "carry_maps",
    "carry_masks",
    "cascade",
    "cell_regions",
    "cell_shares",
    "centre_of_mass",
    "chance_level",
    "cluster",
    "compact_mask",
    "critical_mask",
    "deletion",
    "drop",
    "flip_consistency",
    "gap",
    "hellinger",
    "insertion",
    "jensen_shannon",
    "label_permutation_p",
    "map_agreement",
    "matched_gap",
    "max_sensitivity",
    "measure",
    "occlude",
    "occlusion_curve",
    "person_maps",
    "profile_divergences",
    "rank_agreement",
    "region_areas",
    "region_densities",
    "region_shares",
    "sign_flip_p",
    "spread",
    "ssim",
    "swap_ranking",
    "swap_region",
    "transfer_drops",
]
