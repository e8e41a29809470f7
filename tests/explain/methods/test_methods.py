"""Attribution methods against their formulas on a small recognizer, and what all of them guarantee."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from leam.errors import InputError, PluginError
from leam.explain.explainer import Explainer
from leam.explain.methods import (
    METHODS,
    MethodSettings,
    create_method,
    evidence,
    explained,
    pair_target,
)
from leam.explain.methods.gradients import integrate
from leam.explain.methods.hierarchical import _search
from leam.explain.methods.perturbations import _random_masks, _windows
from leam.explain.targets import anchored, negated, reference_target, self_target
from leam.recognizers.black_box import BlackBox
from leam.recognizers.card import Card
from leam.recognizers.recognizer import Recognizer

SIZE = (24, 20)
RANDOM = np.random.default_rng(0)
CHIPS = RANDOM.integers(0, 256, (3, *SIZE, 3), dtype=np.uint8)
MATES = torch.randn(3, 6, generator=torch.Generator().manual_seed(3))


def recognizer(threshold: float | None = None, similarity: str = "cosine") -> Recognizer:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(5, 4, 3, stride=2, padding=1),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(4 * 12 * 10, 6),
    )
    card = Card(name="small", input_size=SIZE, threshold=threshold, similarity=similarity)
    return Recognizer(module, card)


def mapper(name, recognizer):
    return explained(create_method(name, recognizer))


def scaled(maps):
    return maps / maps.sum(dim=(1, 2), keepdim=True)


BUILT_IN = [name for name in METHODS if METHODS.origin(name) == "leam"]


@pytest.mark.parametrize("name", BUILT_IN)
def test_maps_are_distributions_and_do_not_depend_on_the_batch(name):
    method = mapper(name, recognizer())
    maps = method(CHIPS, MATES)
    assert maps.shape == (3, *SIZE)
    assert maps.dtype == torch.float32
    assert (maps >= 0).all()
    torch.testing.assert_close(maps.sum(dim=(1, 2)), torch.ones(3))
    for face in range(3):
        alone = method(CHIPS[face : face + 1], MATES[face : face + 1])
        torch.testing.assert_close(alone[0], maps[face], atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_recognizer_is_left_as_it_was(name):
    one = recognizer()
    one.module.train()
    mapper(name, one)(CHIPS, MATES)
    assert one.module.training
    for parameter in one.module.parameters():
        assert parameter.requires_grad
        assert parameter.grad is None
    assert not any(child._forward_hooks for child in one.module.modules())


@pytest.mark.parametrize("name", BUILT_IN)
def test_float_chips_and_an_outer_inference_mode_do(name):
    method = mapper(name, recognizer())
    with torch.inference_mode():
        maps = method(torch.from_numpy(CHIPS).float(), MATES)
    torch.testing.assert_close(maps, method(CHIPS, MATES))


def similarity_gradient(one, score):
    inputs = one.preprocess(CHIPS).requires_grad_()
    gradient = torch.autograd.grad(score(one.forward(inputs * 1)).sum(), inputs)[0]
    return inputs.detach(), gradient


def test_gradients_of_the_similarity():
    one = recognizer()
    inputs, gradient = similarity_gradient(one, lambda e: functional.cosine_similarity(e, MATES))
    wanted = scaled(gradient.abs().amax(dim=1))
    torch.testing.assert_close(mapper("input-gradients", one)(CHIPS, MATES), wanted)
    wanted = scaled((gradient * inputs).sum(dim=1).clamp(min=0))
    torch.testing.assert_close(mapper("gradient-input", one)(CHIPS, MATES), wanted)


@pytest.mark.parametrize("threshold", [None, 0.3])
def test_xssab_keeps_the_dimensions_that_speak_for_a_match(threshold):
    one = recognizer(threshold)
    units = functional.normalize(MATES, dim=1)
    terms = functional.normalize(one.embed(CHIPS), dim=1) * units
    kept = units * (terms >= (threshold or 0) / 6)
    _, gradient = similarity_gradient(one, lambda e: (functional.normalize(e, dim=1) * kept).sum(1))
    wanted = scaled(gradient.abs().mean(dim=1))
    torch.testing.assert_close(mapper("xssab", one)(CHIPS, MATES), wanted)


def test_fggb_weighs_unit_gradients_of_all_dimensions():
    one = recognizer(0.3)

    def unit(inputs):
        return functional.normalize(one.forward(inputs), dim=1)[0]

    for face in range(3):
        inputs = one.preprocess(CHIPS[face : face + 1])
        jacobian = torch.autograd.functional.jacobian(unit, inputs)[:, 0]
        sizes = jacobian.abs().mean(dim=1)
        sizes /= sizes.flatten(1).norm(dim=1)[:, None, None]
        weights = unit(inputs) * functional.normalize(MATES[face], dim=0) - 0.3 / 6
        wanted = (weights[:, None, None] * sizes).sum(dim=0).clamp(min=0).detach()
        found = mapper("fggb", one)(CHIPS[face : face + 1], MATES[face : face + 1])
        torch.testing.assert_close(found, scaled(wanted[None]), atol=1e-6, rtol=1e-3)


def test_a_distances_threshold_is_none_of_a_cosine():
    plain, distance = recognizer(None), recognizer(-0.6, "euclidean")
    for name in ("xssab", "fggb"):
        maps = [mapper(name, one)(CHIPS, MATES) for one in (plain, distance)]
        torch.testing.assert_close(*maps)


def test_cams_are_explainers_of_the_last_convolution():
    one = recognizer()
    weightings = {"grad-cam": "channel_mean", "hires-cam": "signed", "layer-cam": "positive"}
    for name, weighting in weightings.items():
        explainer = Explainer(one, layers=["2"], weighting=weighting, aggregate="last")
        wanted = explained(explainer)(CHIPS, MATES)
        torch.testing.assert_close(mapper(name, one)(CHIPS, MATES), wanted)


def test_an_explainer_alone_needs_no_mate():
    method = explained(Explainer(recognizer()), alone=True)
    torch.testing.assert_close(method(CHIPS, MATES), method(CHIPS, MATES.flip(0)))


def test_windows_reach_every_pixel():
    for size in (SIZE, (112, 112), (150, 150), (112, 96)):
        assert _windows(size).any(dim=0).all()


def test_random_masks_hide_three_whole_patches():
    seen = _random_masks((56, 56))
    assert seen.shape == (500, 56, 56)
    hidden = (~seen).sum(dim=(1, 2))
    assert hidden.max() == 3 * 15**2
    assert hidden.min() >= 15**2
    assert torch.equal(seen, _random_masks((56, 56)))


class Corner(nn.Module):
    """Its embedding tells the brightness of the top left corner, and nothing else."""

    def forward(self, x):
        corner = x[:, :, :6, :6].mean(dim=(1, 2, 3))
        return torch.stack([corner, torch.ones_like(corner)], dim=1)


@pytest.mark.parametrize("name", ["occlusion", "corrrise"])
def test_what_is_hidden_is_found(name):
    card = Card(name="corner", input_size=(48, 48), mean=(0, 0, 0), std=(255, 255, 255))
    one = Recognizer(Corner(), card)
    white = np.full((1, 48, 48, 3), 255, dtype=np.uint8)
    maps = mapper(name, one)(white, torch.tensor([[1.0, 0.0]]))
    row, column = divmod(int(maps.argmax()), 48)
    assert row < 8
    assert column < 8


def test_corrrise_is_pearsons_correlation():
    one = recognizer()
    seen = _random_masks(SIZE)
    embeddings = one.embed(torch.from_numpy(CHIPS[0]) * seen[..., None])
    scores = functional.cosine_similarity(embeddings, MATES[:1]).numpy()
    flat = seen.flatten(1).numpy().astype(float)
    wanted = [np.corrcoef(scores, pixel)[0, 1] if pixel.std() else 0.0 for pixel in flat.T]
    wanted = torch.tensor(wanted).float().view(1, *SIZE).clamp(min=0)
    found = mapper("corrrise", one)(CHIPS[:1], MATES[:1])
    torch.testing.assert_close(found, scaled(wanted), atol=1e-6, rtol=1e-3)


def test_an_unknown_method_is_named():
    with pytest.raises(InputError, match="magic: no such attribution method; available: "):
        mapper("magic", recognizer())


def test_integrated_gradients_add_up_to_the_difference_from_black():
    one = recognizer()
    for target in (self_target, reference_target(MATES, "cosine"), negated(self_target)):
        found = integrate(one, CHIPS, target, steps=1000)
        fixed = anchored(target, one.embed(CHIPS))
        black = fixed(one.embed(np.zeros_like(CHIPS)))
        expected = fixed(one.embed(CHIPS)) - black
        torch.testing.assert_close(found.sum(dim=(1, 2)), expected, atol=2e-3, rtol=1e-2)
    wanted = scaled(integrate(one, CHIPS, reference_target(MATES, "cosine")).clamp(min=0))
    torch.testing.assert_close(mapper("integrated-gradients", one)(CHIPS, MATES), wanted)


SIGNED = [name for name in BUILT_IN if name != "input-gradients"]


@pytest.mark.parametrize("name", SIGNED)
def test_what_lowers_the_score_is_another_map(name):
    method = create_method(name, recognizer())
    maps, against = evidence(method, CHIPS, reference_target(MATES, "cosine"))
    assert against is not None
    opposite = method.explain(CHIPS, negated(reference_target(MATES, "cosine")))
    torch.testing.assert_close(opposite.overall, against)
    torch.testing.assert_close(opposite.scores, -maps.scores)
    assert not torch.allclose(maps.overall, against, atol=1e-4)


def test_magnitudes_do_not_tell_what_lowers_the_score():
    target = reference_target(MATES, "cosine")
    for name, settings in (
        ("input-gradients", MethodSettings()),
        ("leam", MethodSettings(weighting="magnitude")),
    ):
        assert evidence(create_method(name, recognizer(), settings), CHIPS, target)[1] is None


class Halves(nn.Module):
    """The colours of the left half, then those of the right half."""

    def forward(self, x):
        return torch.cat([half.mean(dim=(2, 3)) for half in x.chunk(2, dim=3)], dim=1)


@pytest.mark.parametrize("name", ["occlusion", "corrrise", "hierarchical", "integrated-gradients"])
def test_the_like_half_and_the_unlike_half_of_a_pair(name):
    card = Card(name="halves", input_size=(48, 48), mean=(0, 0, 0), std=(255, 255, 255))
    one = Recognizer(Halves(), card)
    chips = np.full((1, 48, 48, 3), 200, dtype=np.uint8)
    # The mate is alike on the left and has no colour on the right.
    mates = one.embed(np.concatenate([chips[:, :, :24], 0 * chips[:, :, 24:]], axis=2))
    maps, against = evidence(create_method(name, one), chips, reference_target(mates, "cosine"))
    assert maps.overall[0, :, :24].sum() > 0.85
    assert against[0, :, 24:].sum() > 0.85


def test_methods_are_refused_by_what_they_need():
    box = BlackBox(embed=recognizer().embed, input_size=SIZE, name="box")
    for name in BUILT_IN:
        if name in {"occlusion", "corrrise", "hierarchical"}:
            continue
        with pytest.raises(InputError, match=f"{name}: needs gradients, which box does not give"):
            create_method(name, box)
    with pytest.raises(InputError, match="grad-cam: its number of calls is fixed"):
        create_method("grad-cam", recognizer(), MethodSettings(calls=10))
    with pytest.raises(InputError, match="xssab: explains a similarity, not the embedding alone"):
        create_method("xssab", recognizer()).explain(CHIPS)


PERTURBING = ("occlusion", "corrrise", "hierarchical")


@pytest.mark.parametrize("name", PERTURBING)
@pytest.mark.parametrize("calls", [30, 100])
def test_calls_are_kept_and_serve_both_maps(name, calls):
    one = recognizer()
    box = BlackBox(embed=one.embed, input_size=SIZE, budget=calls)
    maps, against = evidence(
        create_method(name, box, MethodSettings(calls=calls)),
        CHIPS[:1],
        reference_target(MATES[:1], "cosine"),
    )
    assert against is not None
    assert 0.4 * calls <= box.calls <= calls
    same = create_method(name, one, MethodSettings(calls=calls))
    target = reference_target(MATES[:1], "cosine")
    torch.testing.assert_close(same.explain(CHIPS[:1], target).overall, maps.overall)


@pytest.mark.parametrize("name", PERTURBING)
def test_scores_alone_give_the_map_of_embeddings(name):
    one, mates = recognizer(), CHIPS[::-1].copy()

    def score(left, right):
        return one.similarity(one.embed(left), one.embed(right))

    box = BlackBox(score=score, input_size=SIZE, batch_size=16)
    settings = MethodSettings(calls=40)
    targets = pair_target(box, mates), pair_target(one, mates)
    for of_scores, of_embeddings in (targets, map(negated, targets)):
        found = create_method(name, box, settings).explain(CHIPS, of_scores)
        wanted = create_method(name, one, settings).explain(CHIPS, of_embeddings)
        torch.testing.assert_close(found.overall, wanted.overall, atol=1e-5, rtol=1e-3)
        torch.testing.assert_close(found.scores, wanted.scores)
    with pytest.raises(InputError, match="gives only scores of two pictures"):
        create_method(name, box, settings).explain(CHIPS, reference_target(MATES, "cosine"))


@pytest.mark.parametrize("name", PERTURBING)
def test_too_few_calls_are_refused(name):
    with pytest.raises(InputError, match=f"{name}: 2 calls are too few; give at least"):
        create_method(name, recognizer(), MethodSettings(calls=2))


def test_the_search_spends_its_calls_where_the_score_drops():
    asked = []

    def score(pictures):
        asked.extend(pictures)
        return pictures[:, :8, :8].float().mean(dim=(1, 2, 3))

    chip = torch.full((112, 112, 3), 200, dtype=torch.uint8)
    drops = _search(score, chip, 60)
    assert len(asked) <= 60
    first, rest = asked[17:21], asked[21:]
    hidden = [(picture == 0).any(dim=2) for picture in (*first, *rest)]
    assert all(one[:28, :28].any() for one in hidden[:4])
    assert drops[:7, :7].min() > 10 * drops[28:].abs().max()
    assert drops[:7, :7].sum() == pytest.approx(float(score(chip[None])) * 49 / 64, rel=1e-4)


def test_another_thing_under_the_entry_point_is_refused(monkeypatch):
    monkeypatch.setitem(METHODS._things, "odd", lambda chips: chips)
    with pytest.raises(PluginError, match="odd is not an AttributionMethod"):
        create_method("odd", recognizer())
