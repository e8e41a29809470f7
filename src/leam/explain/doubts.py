"""What makes maps unusable, and why.

One rule holds everywhere: an embedding that is not finite or is zero has no similarity and no map; a network that
gives one embedding for faces that differ does not see them; a face whose maps are all empty has no explanation.
Functions that return batches (:meth:`leam.Recognizer.embed`, :meth:`leam.Explainer.explain`) warn of these with
:class:`leam.LeamWarning`; those that return explanations of single faces raise :class:`leam.errors.ModelError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from leam.errors import warn
from leam.explain.layouts import BCHW
from leam.explain.targets import Target, self_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from leam.explain.explainer import Maps
    from leam.explain.layers import Layer

# The weightings whose products cancel over channels.
_CANCELLING = ("signed", "magnitude")
_OTHER = "absolute"
_MOST_NAMED = 6
_CHECK = "check the card's mean and std, and the weights"
# Largest relative difference of embeddings that are the same.
_SAME = 1e-6


def warn_of(name: str, chips: Tensor, maps: Maps, target: Target, weighting: str | None) -> None:
    """Warn of faces without a map or with one of too few layers, and of a network that does not see its input.

    Args:
        name: Of the recognizer.
        chips: The faces, ``(B, h, w, 3)``.
        maps: Their maps.
        target: What was explained. Of other targets than ``self``, a face without a map is only flagged: nothing may
            make it similar to another face.
        weighting: The weighting; None for methods without one.
    """
    found, empty = maps.embeddings, maps.overall_empty
    if found.numel() and bool((chips != chips[:1]).any()):
        apart = (found - found[:1]).abs().max()
        if bool(apart <= _SAME * found.abs().max()):
            warn(f"{name}: different faces have one embedding; {_CHECK}")
            return
    if target is self_target and empty.any():
        rows = empty.nonzero().flatten().tolist()
        why = why_empty(maps.face(rows[0]), weighting)
        warn(f"{name}: {len(rows)} of {len(empty)} faces have no map: {why}")
        return
    few = rests_on_few(maps.layers, maps.empty)
    way = way_out(weighting)
    if target is self_target and way and _ends_in_block(maps.layers) and few.any():
        face = maps.face(int(few.nonzero()[0]))
        without = [layer for layer, no in zip(face.layers, face.empty[:, 0], strict=True) if no]
        warn(
            f"{name}: {int(few.sum())} of {len(few)} faces have no support in {len(without)} of {len(face.layers)} "
            f"layers: {named(without)}{way}"
        )


def rests_on_few(layers: Sequence[Layer], empty: Tensor) -> Tensor:
    """Whether another weighting should be tried, since too many layers have no map: half, or a transformer's last one.

    A transformer that normalises its last block normalises all that its blocks add up to. The products of the other
    blocks then cancel in part, and what is left of them may lie anywhere.

    Args:
        layers: The layers, in the order of execution.
        empty: ``(L, B)``, as in :class:`leam.explain.explainer.Maps`.

    Returns:
        ``(B,)``.
    """
    few = 2 * empty.sum(dim=0) >= max(1, len(layers))
    return few | empty[-1] if _ends_in_block(layers) else few


def _ends_in_block(layers: Sequence[Layer]) -> bool:
    """Whether the last layer is a transformer's block, and no convolution before a normalisation inside a block."""
    return bool(layers) and layers[-1].layout != BCHW


def why_empty(maps: Maps, weighting: str | None) -> str:
    """Why a face has no map, and the way out.

    Args:
        maps: Of one face.
        weighting: As for :func:`warn_of`.
    """
    embedding = maps.embeddings
    if embedding.numel() and not (torch.isfinite(embedding).all() and embedding.any()):
        what = "zero" if torch.isfinite(embedding).all() else "not finite"
        return f"its embedding is {what}; {_CHECK}"
    if not maps.layers:
        return f"{maps.backend} found no pixel that supports the score; it may not depend on the picture"
    return (
        f"every layer's map is zero or not finite ({named(maps.layers)})"
        f"{way_out(weighting) or '; nothing to explain'}"
    )


def way_out(weighting: str | None) -> str:
    """The other weighting to try if layers have no map; empty if products cannot cancel with this one."""
    if weighting not in _CANCELLING:
        return ""
    return (
        f"; if a layer normalisation follows, the products of the weighting {weighting} cancel: try another one, such "
        f"as {_OTHER}"
    )


def named(layers: Sequence[Layer]) -> str:
    """The names of layers, at most six."""
    more = len(layers) - _MOST_NAMED
    names = ", ".join(layer.name for layer in layers[:_MOST_NAMED])
    return names + (f" and {more} more" if more > 0 else "")
