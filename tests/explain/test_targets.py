from __future__ import annotations

import torch
from torch.nn import functional

from leam.explain.targets import contrast_target, nearest, reference_target, self_target, template


def test_self_is_the_norm_and_its_gradient_the_unit_vector():
    e = torch.tensor([[3.0, 4.0], [1.0, 0.0]], requires_grad=True)
    scores = self_target(e)
    torch.testing.assert_close(scores, torch.tensor([5.0, 1.0]))
    (gradient,) = torch.autograd.grad(scores.sum(), e)
    torch.testing.assert_close(gradient, torch.tensor([[0.6, 0.8], [1.0, 0.0]]))


def test_reference_is_the_recognizers_similarity():
    e, r = torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 4.0]])
    torch.testing.assert_close(reference_target(r, "cosine")(e), torch.tensor([0.6]))
    torch.testing.assert_close(reference_target(r, "euclidean")(e), -torch.tensor([20.0]).sqrt())


def test_template_is_the_mean_of_unit_vectors_where_angles_count():
    e = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(template(e, "cosine"), torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(template(e, "euclidean"), torch.tensor([1.0, 0.5]))


def test_contrast_is_own_minus_mean_of_nearest():
    generator = torch.Generator().manual_seed(0)
    e, own, pool = (torch.randn(n, 4, generator=generator) for n in (3, 3, 7))
    impostors = nearest(own, pool, 2, "cosine")
    by_hand = []
    for row, mine in zip(e, own, strict=True):
        scores = functional.cosine_similarity(mine[None], pool)
        two = pool[scores.argsort(descending=True)[:2]]
        by_hand.append(
            functional.cosine_similarity(row, mine, dim=0)
            - functional.cosine_similarity(row[None], two).mean()
        )
    torch.testing.assert_close(contrast_target(own, impostors, "cosine")(e), torch.stack(by_hand))
