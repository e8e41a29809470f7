from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from leam.errors import InputError, LayerError, LeamWarning, ModelError
from leam.explain.aggregates import AGGREGATES
from leam.explain.backends import BACKENDS
from leam.explain.doubts import rests_on_few
from leam.explain.explainer import Explainer
from leam.explain.layers import Layer
from leam.explain.layouts import Layout
from leam.explain.targets import contrast_target, reference_target
from leam.explain.weightings import WEIGHTINGS
from tiny import TinyNet, wrap


def by_hand(net: TinyNet, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The signed maps of both convolutions for the self target, without hooks or autograd on activations."""
    a1 = net.conv1(x)
    a2 = net.conv2(a1.relu())
    e = net.fc(a2.relu().flatten(1))
    g_e = functional.normalize(e, dim=1)
    g_a2 = (g_e @ net.fc.weight).view_as(a2) * (a2 > 0)
    g_r1 = functional.conv_transpose2d(
        g_a2, net.conv2.weight, stride=2, padding=1, output_padding=1
    )
    g_a1 = g_r1 * (a1 > 0)
    return (a1 * g_a1).sum(1).relu(), (a2 * g_a2).sum(1).relu()


@pytest.mark.parametrize("backend", ["plain", "fused"])
def test_maps_equal_the_formula_by_hand(tiny, chips, backend):
    explainer = Explainer(tiny, weighting="signed", aggregate="mean", backend=backend)
    maps = explainer.explain(chips)
    with torch.no_grad():
        first, second = by_hand(tiny.module, tiny.preprocess(chips))
    scaled = [m / m.sum((1, 2), keepdim=True) for m in (first, second)]
    assert [layer.name for layer in maps.layers] == ["conv1", "conv2"]
    torch.testing.assert_close(maps.layer_maps[0], scaled[0])
    torch.testing.assert_close(maps.layer_maps[1], scaled[1])
    up = functional.interpolate(scaled[1][:, None], size=(8, 8), mode="bilinear")[:, 0]
    overall = scaled[0] + up / 4
    torch.testing.assert_close(maps.overall, overall / overall.sum((1, 2), keepdim=True))
    torch.testing.assert_close(maps.scores, maps.embeddings.norm(dim=1))


def test_signed_contributions_of_a_layer_sum_to_the_score_of_a_bias_free_network(chips):
    torch.manual_seed(3)
    net = TinyNet()
    for module in (net.conv1, net.conv2, net.fc):
        nn.init.zeros_(module.bias)
    explainer = Explainer(wrap(net))
    activations, gradients, _, scores = explainer.differentiate(chips)
    for activation, gradient in zip(activations, gradients, strict=True):
        torch.testing.assert_close((activation * gradient).sum((1, 2, 3)), scores)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_maps_are_distributions_and_do_not_depend_on_the_batch(tiny, chips, weighting, aggregate):
    explainer = Explainer(tiny, weighting=weighting, aggregate=aggregate)
    batch = explainer.explain(chips)
    assert (batch.overall >= 0).all()
    torch.testing.assert_close(batch.overall.sum((1, 2)), torch.ones(5))
    for index in range(5):
        single = explainer.explain(chips[index : index + 1])
        torch.testing.assert_close(single.overall[0], batch.overall[index], atol=1e-5, rtol=1e-5)
        for one, many in zip(single.layer_maps, batch.layer_maps, strict=True):
            torch.testing.assert_close(one[0], many[index], atol=1e-5, rtol=1e-5)


def test_batch_norm_in_training_mode_does_not_couple_a_batch(chips):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3),
        nn.Flatten(),
        nn.Linear(64, 5),
    )
    net.train()
    net[1].eval()
    explainer = Explainer(wrap(net))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    batch = explainer.explain(chips)
    single = explainer.explain(chips[:1])
    torch.testing.assert_close(single.overall[0], batch.overall[0], atol=1e-6, rtol=1e-5)
    assert [m.training for m in net] == [True, False, True, True, True, True]
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("frozen", [True, False])
def test_the_module_is_left_as_it_was(tiny, chips, frozen):
    module = tiny.module.train()
    module.conv1.weight.requires_grad_(not frozen)
    state = {name: p.requires_grad for name, p in module.named_parameters()}
    Explainer(tiny).explain(chips)
    assert module.training
    assert {name: p.requires_grad for name, p in module.named_parameters()} == state
    assert all(p.grad is None for p in module.parameters())
    assert not any(m._forward_hooks for m in module.modules())


@pytest.mark.parametrize("backend", ["plain", "fused"])
def test_the_module_is_left_as_it_was_after_an_exception(tiny, chips, backend):
    explainer = Explainer(tiny, backend=backend)
    tiny.module.train()

    def broken(embeddings):
        raise RuntimeError("a target that fails")

    with pytest.raises(RuntimeError, match="a target that fails"):
        explainer.explain(chips, broken)
    assert tiny.module.training
    assert all(p.requires_grad and p.grad is None for p in tiny.module.parameters())
    assert not any(m._forward_hooks for m in tiny.module.modules())


@pytest.mark.parametrize("backend", ["plain", "fused"])
def test_a_users_own_hooks_and_gradients_survive(tiny, chips, backend):
    seen = []
    handle = tiny.module.conv1.register_forward_hook(lambda *_: seen.append(1))
    tiny.module(torch.zeros(1, 3, 8, 8)).sum().backward()
    gradient = tiny.module.conv1.weight.grad.clone()
    seen.clear()
    Explainer(tiny, backend=backend).explain(chips)
    assert seen
    assert handle.id in tiny.module.conv1._forward_hooks
    assert torch.equal(tiny.module.conv1.weight.grad, gradient)


@pytest.mark.parametrize("backend", ["plain", "fused"])
def test_in_place_steps_do_not_change_the_maps(chips, backend):
    torch.manual_seed(0)
    plain = wrap(TinyNet())
    torch.manual_seed(0)
    inplace = wrap(TinyNet(inplace=True))
    wanted = Explainer(plain).explain(chips)
    explainer = Explainer(inplace, backend=backend)
    for _ in range(2):
        found = explainer.explain(chips)
        torch.testing.assert_close(found.layer_maps, wanted.layer_maps)


class Reused(nn.Module):
    """One convolution used twice, and a branch that leads nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.stray = nn.Conv2d(3, 2, 1)
        self.fc = nn.Linear(3 * 64, 4)

    def forward(self, x):
        self.stray(x)
        return self.fc(self.conv(self.conv(x).relu()).flatten(1))


def test_a_reused_module_has_a_map_for_each_call(chips):
    torch.manual_seed(0)
    recognizer = wrap(Reused())
    explainer = Explainer(recognizer)
    assert [layer.name for layer in explainer.layers] == ["conv:0", "conv:1"]
    activations, _, _, _ = explainer.differentiate(chips)
    first = recognizer.module.conv(recognizer.preprocess(chips))
    torch.testing.assert_close(activations[0], first.detach())
    torch.testing.assert_close(activations[1], recognizer.module.conv(first.relu()).detach())
    only_second = Explainer(recognizer, layers=["conv:1"])
    torch.testing.assert_close(only_second.differentiate(chips)[0][0], activations[1])


def test_layers_come_back_in_the_order_asked(tiny, chips):
    maps = Explainer(tiny, layers=["conv2", "conv1"]).explain(chips)
    assert [layer.name for layer in maps.layers] == ["conv2", "conv1"]
    assert [m.shape[1] for m in maps.layer_maps] == [4, 8]
    assert maps.layer_map("conv1") is maps.layer_maps[1]
    with pytest.raises(LayerError, match="relu1: not among the explained layers"):
        maps.layer_map("relu1")


def test_too_few_references_are_an_error(tiny, chips):
    with pytest.raises(InputError, match="2 references for 5 faces"):
        Explainer(tiny).explain(chips, reference_target(torch.ones(2, 6), "cosine"))
    with pytest.raises(InputError, match="2 references for 5 faces"):
        Explainer(tiny).explain(
            chips, contrast_target(torch.ones(5, 6), torch.ones(2, 3, 6), "cosine")
        )


@pytest.mark.parametrize("backend", ["plain", "fused"])
def test_an_empty_map_is_flagged(tiny, chips, backend):
    nn.init.zeros_(tiny.module.fc.weight)
    with pytest.warns(LeamWarning, match="different faces have one embedding"):
        maps = Explainer(tiny, backend=backend).explain(chips)
    assert maps.empty.all()
    assert maps.overall_empty.all()
    assert (maps.overall == 0).all()


@pytest.mark.parametrize("backend", ["plain", "fused"])
def test_a_map_that_is_not_finite_is_flagged(tiny, chips, backend):
    with torch.no_grad():
        tiny.module.conv2.bias[0] = float("nan")
    with pytest.warns(LeamWarning, match="5 of 5 faces have no map: its embedding is not finite"):
        maps = Explainer(tiny, backend=backend).explain(chips)
    assert maps.overall_empty.all()
    assert torch.isfinite(maps.overall).all()


def test_a_network_that_does_not_see_the_face_is_a_warning(tiny, chips):
    tiny.module.register_forward_pre_hook(lambda _module, inputs: (inputs[0] * 0 + 1,))
    with pytest.warns(LeamWarning, match="different faces have one embedding"):
        Explainer(tiny).explain(chips)
    Explainer(tiny).explain(chips[:1])
    Explainer(tiny).explain(chips[:1].repeat(2, 1, 1, 1))


class Normalised(nn.Module):
    """Two blocks of tokens, and perhaps a layer normalisation of what they add up to."""

    def __init__(self, last: bool = True):
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 2, 2)
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8) if last else nn.Identity()
        self.fc = nn.Linear(8, 6)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = x + self.first(x).tanh()
        return self.fc(self.norm(x + self.second(x).tanh()).mean(dim=1))


@pytest.mark.parametrize("backend", ["plain", "fused"])
def test_a_transformer_that_normalises_its_last_block_is_a_warning(chips, backend):
    torch.manual_seed(0)
    net = wrap(Normalised())
    cause = "^tiny: 5 of 5 faces have no support in 2 of 3 layers: second:input, norm:input; .* absolute$"
    with pytest.warns(LeamWarning, match=cause):
        Explainer(net, backend=backend, weighting="signed").explain(chips)
    Explainer(net, backend=backend).explain(chips)
    Explainer(wrap(Normalised(last=False)), backend=backend, weighting="signed").explain(chips)


@pytest.mark.parametrize(("last", "expected"), [(True, "absolute"), (False, "signed")])
@pytest.mark.parametrize("layers", ["convolutions", "patch"])
def test_the_weighting_fits_a_transformer_that_normalises_its_last_block(last, expected, layers):
    torch.manual_seed(0)
    explainer = Explainer(wrap(Normalised(last)), layers=layers)
    assert explainer.weighting == expected
    assert f"weighting {expected}" in repr(explainer)


def test_too_few_layers_are_half_or_without_a_last_block():
    grid, tokens = (Layer("x", "x", 0, 8, (4, 4), Layout(axes)) for axes in ("BCHW", "BNC"))
    empty = torch.tensor([[0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]).bool()
    assert rests_on_few([grid] * 4, empty).tolist() == [False, True, False, False]
    assert rests_on_few([grid, *[tokens] * 3], empty).tolist() == [False, True, False, True]
    assert rests_on_few([], empty[:0]).tolist() == [False] * 4


def test_it_works_under_no_grad_and_inference_mode(tiny, chips):
    wanted = Explainer(tiny).explain(chips).overall
    with torch.no_grad():
        assert torch.equal(Explainer(tiny).explain(chips).overall, wanted)
    with torch.inference_mode():
        assert torch.equal(Explainer(tiny).explain(chips).overall, wanted)


@pytest.mark.parametrize("backend", ["plain", "fused"])
def test_one_forward_and_one_backward_pass_serve_all_layers(tiny, chips, backend):
    explainer = Explainer(tiny, backend=backend)
    passes = []
    with (
        tiny.module.fc.register_forward_hook(lambda *_: passes.append("forward")),
        tiny.module.fc.register_full_backward_hook(lambda *_: passes.append("backward")),
    ):
        explainer.explain(chips)
    assert passes == ["forward", "backward"]


def test_nothing_of_a_call_is_kept(tiny, chips):
    explainer = Explainer(tiny)
    activations, _, _, _ = explainer.differentiate(chips)
    kept = [weakref.ref(activation) for activation in activations]
    del activations
    gc.collect()
    assert all(reference() is None for reference in kept)


@pytest.mark.parametrize("backend", ["plain", "fused"])
@pytest.mark.parametrize("layers", ["convolutions", ["0", "1"]], ids=str)
def test_tensors_of_a_call_are_freed_at_once(chips, backend, layers):
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.PReLU(), nn.Flatten(), nn.Linear(64, 5)
    )  # fmt: skip
    explainer = Explainer(wrap(net), backend=backend, layers=layers)
    explainer.explain(chips)

    def tensors() -> int:
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = tensors()
        explainer.explain(chips)
        assert tensors() == before
    finally:
        gc.enable()


def test_wrong_shapes_name_the_recognizer(tiny, chips):
    with pytest.raises(ModelError, match="tiny: chips of shape"):
        Explainer(tiny).explain(chips[:, :4])


@pytest.mark.parametrize(
    ("choice", "known"), [("weighting", "signed"), ("aggregate", "mean"), ("backend", "fused")]
)
def test_an_unknown_choice_is_named_with_those_available(tiny, choice, known):
    with pytest.raises(InputError, match=f"^best: no such {choice}; available: .*{known}[^\\n]*$"):
        Explainer(tiny, **{choice: "best"})


@pytest.mark.parametrize(
    ("asked", "resolved"), [("auto", "fused"), ("fused", "fused"), ("plain", "plain")]
)
def test_maps_name_the_backend_that_computed_them(tiny, chips, asked, resolved):
    explainer = Explainer(tiny, backend=asked)
    assert explainer.backend == resolved
    maps = explainer.explain(chips)
    assert maps.backend == resolved
    assert maps.face(2).backend == resolved


class Turning(nn.Module):
    """A network that leaves out its activation for bright faces."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()
        self.fc = nn.Linear(256, 5)

    def forward(self, x):
        y = self.conv(x)
        return self.fc((y if bool((x == 1).any(dim=(1, 2, 3)).all()) else self.relu(y)).flatten(1))


def test_maps_name_the_plain_backend_where_it_computed_any_portion(chips):
    torch.manual_seed(0)
    explainer = Explainer(wrap(Turning()))
    dark = (chips[:1] // 2).expand(32, -1, -1, -1)
    bright = torch.full_like(dark, 255)
    assert explainer.explain(dark).backend == "fused"
    assert explainer.explain(bright).backend == "plain"
    assert explainer.explain(torch.cat([dark, bright])).backend == "plain"


class Several(TinyNet):
    def forward(self, x):
        return super().forward(x), x


def test_a_module_that_does_not_return_a_tensor_is_refused():
    with pytest.raises(
        ModelError, match=r"^tiny: the module returns several tensors \(in a tuple\); "
    ):
        Explainer(wrap(Several()))


@pytest.mark.parametrize("backend", ["plain", "fused"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_modules_of_other_types_are_explained_in_float32(chips, dtype, backend):
    torch.manual_seed(0)
    module = TinyNet().to(dtype)
    expected = Explainer(wrap(copy.deepcopy(module).float()), backend=backend).explain(chips)
    found = Explainer(wrap(module), backend=backend).explain(chips)
    torch.testing.assert_close(found.overall, expected.overall, rtol=0, atol=0)
    assert module.conv1.weight.dtype == dtype


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("part", [False, True])
def test_script_modules_are_refused(part):
    module = torch.jit.script(TinyNet())
    with pytest.raises(ModelError, match=r"^tiny: .* a TorchScript module, [^\n]*onnx[^\n]*$"):
        Explainer(wrap(nn.Sequential(module) if part else module))


def test_only_modules_without_an_underscore_are_backends():
    assert list(BACKENDS) == ["fused", "plain"]


def test_the_maps_of_one_face(tiny, chips):
    maps = Explainer(tiny).explain(chips)
    one = maps.face(3)
    assert torch.equal(one.overall, maps.overall[3:4])
    assert torch.equal(one.layer_map("conv2"), maps.layer_map("conv2")[3:4])
    assert torch.equal(one.scores, maps.scores[3:4])
    assert torch.equal(one.embeddings, maps.embeddings[3:4])
    assert torch.equal(one.empty, maps.empty[:, 3:4])


def test_real_recognizer_in_batches(dlib_resnet, assets):
    import numpy as np

    faces = np.load(assets / "zoo" / "reference.npz")["chips150"][:4]
    explainer = Explainer(dlib_resnet)
    batch = explainer.explain(faces)
    pixel = batch.overall.amax()
    for index in range(len(faces)):
        single = explainer.explain(faces[index : index + 1])
        assert (single.overall[0] - batch.overall[index]).abs().max() < 1e-5 * pixel


@pytest.mark.parametrize("backend", ["plain", "fused"])
def test_chips_in_other_forms_have_the_same_maps(tiny, chips, backend):
    explainer = Explainer(tiny, backend=backend)
    expected = explainer.explain(chips).overall
    unit = chips.permute(0, 3, 1, 2) / 255
    found = explainer.explain(unit, range=(0, 1), layout="BCHW").overall
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    pictures = [Image.fromarray(chip.numpy()) for chip in chips]
    torch.testing.assert_close(explainer.explain(pictures).overall, expected)
    with pytest.raises(InputError, match=r"values from .* to 1, .*range=\(0, 1\)"):
        explainer.explain(chips / 255)
    with pytest.raises(ModelError, match='layout="BCHW"'):
        explainer.explain(chips.permute(0, 3, 1, 2))
    dark = torch.full((1, 8, 8, 3), 3.5)
    dark[0, 2:5] = 7
    assert not explainer.explain(dark, range=(0, 255)).overall_empty


def test_portions_have_the_recognizers_batch_size(chips):
    sizes = []
    torch.manual_seed(0)
    module = TinyNet()
    explainer = Explainer(wrap(module, batch_size=2))
    module.fc.register_forward_hook(lambda _module, inputs, _output: sizes.append(len(inputs[0])))
    found = explainer.explain(chips)
    assert sizes == [2, 2, 1]
    torch.testing.assert_close(found.overall, Explainer(wrap(module)).explain(chips).overall)


def test_grey_networks_and_containers_are_explained(chips):
    class Grey(TinyNet):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(1, 4, 3, padding=1)

        def forward(self, x):
            embedding = super().forward(x)
            return {"norm": embedding.norm(dim=1, keepdim=True), "embedding": embedding}

    torch.manual_seed(0)
    recognizer = wrap(Grey(), channels="GRAY", output="embedding")
    found = [Explainer(recognizer, backend=one).explain(chips) for one in ("plain", "fused")]
    torch.testing.assert_close(found[0].overall, found[1].overall, rtol=0, atol=1e-5)
    assert not found[0].overall_empty.any()


@pytest.mark.parametrize("backend", ["plain", "fused"])
def test_bfloat16_maps_are_close(backend):
    torch.manual_seed(0)
    module, faces = TinyNet(16), torch.randint(0, 256, (8, 16, 16, 3), dtype=torch.uint8)
    exact = Explainer(wrap(module, 16), backend=backend).explain(faces)
    found = Explainer(wrap(module, 16, precision="bfloat16"), backend=backend).explain(faces)
    assert found.overall.dtype == found.embeddings.dtype == torch.float32
    correlations = [
        float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])
        for a, b in zip(found.overall, exact.overall, strict=True)
    ]
    assert min(correlations) > 0.99
    assert not torch.equal(found.overall, exact.overall)
