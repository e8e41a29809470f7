"""Maps by the plain definition, which every shortcut must give."""

from __future__ import annotations

import pytest
import torch

from leam.explain.backends import kernels as loops
from leam.explain.explainer import Explainer, _Part


def plain(explainer: Explainer, chips, target=None):
    """The maps by the plain definition: every activation and gradient, then the weighting."""
    arguments = () if target is None else (target,)
    activations, gradients, embeddings, scores = explainer.differentiate(chips, *arguments)
    with pytest.MonkeyPatch.context() as without:
        without.setattr(loops, "INSTALLED", False)
        raw = [explainer._weigh(a, g) for a, g in zip(activations, gradients, strict=True)]
        return explainer._maps(_Part(raw, embeddings, scores))


def assert_same(found, wanted) -> None:
    for one, other in zip(found.layer_maps, wanted.layer_maps, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5 * float(other.max()), rtol=0)
    torch.testing.assert_close(
        found.overall, wanted.overall, atol=1e-5 * float(wanted.overall.max()), rtol=0
    )
    torch.testing.assert_close(found.embeddings, wanted.embeddings)
    torch.testing.assert_close(found.scores, wanted.scores)
