"""Fused operations give the maps of the plain definition."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from leam.errors import LeamWarning
from leam.explain.backends._fusion import find_chains
from leam.explain.backends._operations import Activation
from leam.explain.explainer import Explainer
from leam.explain.weightings import WEIGHTINGS
from leam.recognizers.architectures.dlib_resnet import Affine
from leam.recognizers.onnx.layers import Clamp, Shift
from plain import assert_same, plain
from tiny import wrap


def network(*activations: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    first, second = activations
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), first,
        nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.BatchNorm2d(6), nn.BatchNorm2d(6), second,
        nn.Conv2d(6, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(256, 5),
    )  # fmt: skip
    for module in net:
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)  # gains of both signs
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return net.eval()


PAIRS = [
    (nn.ReLU(), nn.ReLU(inplace=True)),
    (nn.PReLU(6, init=-0.3), nn.PReLU(init=1.5)),
    (nn.ReLU6(), nn.Hardtanh(-0.5, 0.7)),
    (Clamp(0.0, float("inf")), Clamp(-0.2, 0.9)),
    (nn.Sigmoid(), nn.SiLU()),
]


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: type(pair[0]).__name__)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_chains_give_the_plain_definition(chips, pair, weighting):
    explainer = Explainer(wrap(network(*pair)), weighting=weighting)
    assert_same(explainer.explain(chips), plain(explainer, chips))


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: type(pair[0]).__name__)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_activations_right_after_a_convolution(chips, pair, weighting):
    torch.manual_seed(0)
    first, second = pair
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), first, nn.Conv2d(6, 6, 3, padding=1, groups=6), second,
        nn.Conv2d(6, 4, 1), nn.Flatten(), nn.Linear(256, 5),
    ).eval()  # fmt: skip
    explainer = Explainer(wrap(net), weighting=weighting)
    assert_same(explainer.explain(chips), plain(explainer, chips))


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_affine_layers_and_limits_in_a_row_join_their_convolutions(chips, weighting):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False), Shift(6), nn.PReLU(6),
        nn.Conv2d(6, 6, 3, padding=1, groups=6), Affine(6), Shift(6), Clamp(-1.0, 9.0), nn.ReLU6(),
        nn.Conv2d(6, 4, 1), Shift(4), nn.Flatten(), nn.Linear(256, 5),
    ).eval()  # fmt: skip
    for module in net:
        if isinstance(module, Shift):
            module.bias.normal_()
    nn.init.normal_(net[4].weight)
    chains = find_chains(net, torch.zeros(1, 3, 8, 8))
    assert [tuple(chain) for chain in chains] == [
        ("0", "1", "2"),
        ("3", "4", "5", "6", "7"),
        ("8", "9"),
    ]
    explainer = Explainer(wrap(net), weighting=weighting)
    assert_same(explainer.explain(chips), plain(explainer, chips))


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: type(pair[0]).__name__)
@pytest.mark.parametrize("broken", ["weight", "norm"])
def test_what_is_no_number_leaves_the_same_maps_empty(chips, pair, broken):
    net = network(*pair)
    with torch.no_grad():
        (net[3].weight if broken == "weight" else net[1].running_mean)[0] = torch.nan
    explainer = Explainer(wrap(net))
    with pytest.warns(
        LeamWarning, match=r"^tiny: 5 of 5 faces have no map: its embedding is not finite"
    ):
        found, wanted = explainer.explain(chips), plain(explainer, chips)
    assert found.empty.tolist() == wanted.empty.tolist()
    assert found.overall_empty.tolist() == wanted.overall_empty.tolist()
    assert found.empty.any()
    assert torch.isfinite(found.overall).all()


def test_chains_end_where_something_else_begins():
    net = network(nn.PReLU(6), nn.ReLU())
    chains = find_chains(net, torch.zeros(1, 3, 8, 8))
    assert [tuple(chain) for chain in chains] == [("0", "1", "2"), ("3", "4", "5", "6"), ("7", "8")]


class Branched(nn.Module):
    """A convolution whose output is read twice, and one read in passing without a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv3, self.fc = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(256, 5)

    def forward(self, x):
        y = self.conv1(x)
        z = self.conv2(self.bn1(y).relu() + y)
        scale = z.detach().abs().mean(dim=(1, 2, 3), keepdim=True)
        w = self.bn2(z)
        w = w + self.conv3(w)
        return self.fc((w * scale).flatten(1))


def test_what_is_read_elsewhere_is_not_hidden_in_a_chain(chips):
    torch.manual_seed(0)
    net = Branched().eval()
    names = [tuple(chain) for chain in find_chains(net, torch.zeros(1, 3, 8, 8))]
    assert names == [("conv1",), ("bn1",), ("conv2",), ("bn2",), ("conv3",)]
    explainer = Explainer(wrap(net))
    assert_same(explainer.explain(chips), plain(explainer, chips))


NORM = nn.BatchNorm2d(6)
nn.init.uniform_(NORM.weight, 0.5, 2)
LAST = [[], [NORM], [nn.PReLU(6)], [NORM, nn.PReLU(6)]]


class Sharing(nn.Module):
    """Operations whose gradients are one tensor (for both summands), or a sum (for an output that is read twice)."""

    def __init__(self, *last: nn.Module) -> None:
        super().__init__()
        self.last = last
        self.stem = self.block(3)
        self.left, self.right, self.both = self.block(6), self.block(6), self.block(6)
        self.one, self.other = self.block(6), self.block(6)
        self.fc = nn.Linear(384, 5)

    def block(self, channels: int) -> nn.Sequential:
        convolution = nn.Conv2d(channels, 6, 3, padding=1)
        return nn.Sequential(convolution, *(copy.deepcopy(module) for module in self.last))

    def forward(self, x):
        x = self.stem(x)
        x = self.both(self.left(x) + self.right(x))
        return self.fc((self.one(x) + self.other(x)).flatten(1))


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("last", LAST, ids=str)
def test_only_gradients_of_one_operation_are_written_over(chips, weighting, last):
    torch.manual_seed(0)
    explainer = Explainer(wrap(Sharing(*last).eval()), weighting=weighting)
    assert_same(explainer.explain(chips), plain(explainer, chips))


@pytest.mark.usefixtures("either")
def test_a_gradient_that_is_kept_elsewhere_is_not_written_over(chips):
    torch.manual_seed(0)
    net, kept = Sharing(*LAST[-1]).eval(), {}

    def keep(name):
        def heard(_module, _given, output):
            if output.requires_grad:
                output.register_hook(lambda gradient: kept.setdefault(name, []).append(gradient))

        return heard

    # Blocks are not part of a chain, so that hooks into them are left alone.
    for name, block in net.named_children():
        if name != "fc":
            block.register_forward_hook(keep(name))
    explainer = Explainer(wrap(net))
    kept.clear()
    explainer.explain(chips)
    explainer.differentiate(chips)
    for name, (found, wanted) in kept.items():
        torch.testing.assert_close(found, wanted, msg=name)
    assert len(kept) == 6


class Residual(nn.Module):
    """A sum written into a convolution's output, or into that of what follows it."""

    def __init__(self, last: nn.Module) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu, self.last = nn.ReLU(), last
        self.fc = nn.Linear(256, 5)

    def forward(self, x):
        x = self.relu(self.conv1(x))
        y = self.last(self.conv2(x))
        y += x
        return self.fc(y.flatten(1))


@pytest.mark.parametrize("last", [nn.Identity(), nn.ReLU6()], ids=["sum", "limits"])
def test_an_output_that_is_written_into_is_mapped_as_it_was(chips, last):
    torch.manual_seed(0)
    explainer = Explainer(wrap(Residual(last)))
    assert_same(explainer.explain(chips), plain(explainer, chips))


@pytest.mark.parametrize("layers", [["1"], ["0", "1"], ["2"], ["1", "3"]], ids=str)
def test_a_layer_outside_of_chains_is_mapped_as_it_was(chips, layers):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU6(inplace=True),
        nn.Conv2d(4, 4, 3, padding=1), nn.Flatten(), nn.Linear(256, 5),
    ).eval()  # fmt: skip
    explainer = Explainer(wrap(net), layers=layers)
    assert_same(explainer.explain(chips), plain(explainer, chips))


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("rest", [[nn.ReLU6()], [nn.PReLU()], [nn.ReLU(), nn.PReLU()]], ids=str)
def test_a_prelu_is_the_only_activation_of_its_chain(chips, rest):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.PReLU(6, init=-0.4),
        *rest,
        nn.Flatten(),
        nn.Linear(384, 5),
    ).eval()
    assert [tuple(chain) for chain in find_chains(net, torch.zeros(1, 3, 8, 8))] == [("0", "1")]
    explainer = Explainer(wrap(net))
    assert_same(explainer.explain(chips), plain(explainer, chips))


def test_hooked_and_subclassed_modules_run_as_they_are(chips):
    net = network(nn.ReLU(), nn.ReLU())
    net[1] = Louder(6).eval()
    seen = []
    with net[4].register_forward_hook(lambda *_: seen.append(1)):
        explainer = Explainer(wrap(net))
        found = explainer.explain(chips)
    assert seen
    assert_same(found, plain(explainer, chips))


def test_a_hook_that_comes_later_is_obeyed(chips):
    net = network(nn.ReLU(), nn.ReLU())
    explainer = Explainer(wrap(net))
    with net[1].register_forward_hook(lambda _m, _i, output: 2 * output):
        assert_same(explainer.explain(chips), plain(explainer, chips))


class Turning(nn.Module):
    """A network that goes another way for any picture that is not black."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        nn.init.normal_(self.bn.bias)
        self.fc = nn.Linear(256, 5)

    def forward(self, x):
        y = self.conv(x)
        y = self.bn(y * 2) if bool((x > -1).any()) else self.bn(y)
        return self.fc(y.flatten(1))


def test_a_network_that_turns_elsewhere_runs_plainly(chips):
    torch.manual_seed(0)
    explainer = Explainer(wrap(Turning()))
    assert [tuple(chain) for chain in explainer._compute.chains] == [("conv", "bn")]
    assert_same(explainer.explain(chips), plain(explainer, chips))


class Skipping(nn.Module):
    """A network that leaves out the last module of a chain where its flag or its input says so."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.bn, self.relu = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()
        self.fc = nn.Linear(256, 5)
        self.skip = False

    def forward(self, x):
        y = self.bn(self.conv(x))
        return self.fc((y if self.skip or bool((x == 1).all()) else self.relu(y)).flatten(1))


@pytest.mark.parametrize("why", ["flag", "input"])
def test_a_network_that_leaves_out_a_module_runs_plainly(chips, why):
    explainer = Explainer(wrap(Skipping()))
    assert [tuple(chain) for chain in explainer._compute.chains] == [("conv", "bn", "relu")]
    assert explainer.explain(chips).backend == "fused"
    explainer.recognizer.module.skip = why == "flag"
    given = chips if why == "flag" else torch.full_like(chips, 255)
    maps = explainer.explain(given)
    assert maps.backend == "plain"
    assert_same(maps, plain(explainer, given))


def mixed(x, y):
    return 2.0 * x + y


class Unseen(nn.Module):
    """A network that reads a normalisation's output where no trace sees it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.bn, self.relu = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()
        self.fc, self.mixed = nn.Linear(256, 5), torch.jit.script(mixed)

    def forward(self, x):
        y = self.bn(self.conv(x))
        return self.fc(self.mixed(y, self.relu(y)).flatten(1))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_network_that_reads_what_a_trace_does_not_see_always_runs_plainly(chips, weighting):
    explainer = Explainer(wrap(Unseen()), weighting=weighting)
    assert [tuple(chain) for chain in explainer._compute.chains] == [("conv", "bn", "relu")]
    maps = explainer.explain(chips)
    assert maps.backend == "plain"
    assert_same(maps, plain(explainer, chips))


class Recomputed(Skipping):
    """A network that fails where its modules are replaced during the forward pass only."""

    def forward(self, x):
        def start(x):
            return self.relu(self.bn(self.conv(x)))

        x = x if x.requires_grad else x.detach().requires_grad_()
        return self.fc(checkpoint(start, x, use_reentrant=False).flatten(1))


def test_a_network_that_fails_with_fused_operations_always_runs_plainly(chips):
    explainer = Explainer(wrap(Recomputed()))
    assert explainer._compute.chains
    maps = explainer.explain(chips)
    assert maps.backend == "plain"
    assert_same(maps, plain(explainer, chips))


class Cancelling(nn.Module):
    """Signed products sum to rounding errors where the network divides each location's features by their length."""

    def __init__(self) -> None:
        super().__init__()
        self.end = network(nn.PReLU(6), nn.PReLU(6))
        self.start = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return self.end(nn.functional.normalize(self.start(x), dim=1))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_rounding_errors_do_not_rule_out_fused_operations(chips, weighting):
    explainer = Explainer(wrap(Cancelling().eval()), weighting=weighting)
    assert explainer.explain(chips).backend == "fused"


class Louder(nn.BatchNorm2d):
    def forward(self, x):
        return 3 * super().forward(x)


def subclassed(norm: nn.BatchNorm2d) -> None:
    norm.__class__ = Louder


def of_another_kind(norm: nn.BatchNorm2d) -> None:
    norm.__class__ = nn.ReLU
    norm.inplace = False


def without_statistics(norm: nn.BatchNorm2d) -> None:
    norm.running_mean = norm.running_var = None


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("change", [subclassed, of_another_kind, without_statistics])
@pytest.mark.parametrize("place", [1, 4])
def test_a_module_that_changes_later_runs_as_it_is(chips, change, place):
    net = network(nn.ReLU(), nn.Hardtanh(-0.5, 0.7))
    explainer = Explainer(wrap(net))
    change(net[place])
    assert_same(explainer.explain(chips), plain(explainer, chips))


def test_modules_get_their_forward_pass_back_also_after_an_exception(chips):
    net = network(nn.ReLU(), nn.PReLU(6))
    explainer = Explainer(wrap(net))

    def broken(_):
        raise RuntimeError("a target that fails")

    with pytest.raises(RuntimeError, match="a target that fails"):
        explainer.explain(chips, broken)
    assert not any("forward" in vars(module) for module in net.modules())


def test_chains_show_what_is_chosen_or_end_before_it(chips):
    explainer = Explainer(wrap(network(nn.ReLU(), nn.PReLU(6))), layers=["0", "1", "4", "6", "7"])
    chains = [tuple(chain) for chain in explainer._compute.chains]
    assert chains == [("0", "1", "2"), ("3", "4"), ("5",), ("7", "8")]
    assert explainer.explain(chips).backend == "fused"
    assert_same(explainer.explain(chips), plain(explainer, chips))


def test_raw_convolutions_are_mapped_before_their_normalisations(chips):
    explainer = Explainer(wrap(network(nn.ReLU(), nn.PReLU(6))), layers="raw_convolutions")
    assert [layer.module for layer in explainer.layers] == ["0", "3", "7"]
    assert explainer.explain(chips).backend == "fused"
    assert_same(explainer.explain(chips), plain(explainer, chips))


@pytest.mark.parametrize(
    "module",
    [nn.ReLU(), nn.ReLU6(), nn.Hardtanh(-1, 2), Clamp(0.0, 1.0), Clamp(0.0, float("inf"))],
    ids=repr,
)
def test_limits_have_the_modules_gradient_also_at_the_limits(module):
    x = torch.tensor([[-3.0, -1.0, 0.0, 0.5, 1.0, 2.0, 6.0, 7.0]], requires_grad=True)
    y = module(x)
    (wanted,) = torch.autograd.grad(y.sum(), x)
    limits = Activation.of(module)
    assert torch.equal(limits.forward(x), y)
    assert torch.equal(limits.backward(torch.ones_like(x), x.detach()), wanted)


def test_limits_in_a_row_are_one():
    x = torch.linspace(-9, 9, 73, requires_grad=True)
    for first, second in (
        (Clamp(0.0, 99.0), nn.Hardtanh(-9e9, 6)),
        (nn.Hardtanh(-1, 2), nn.ReLU()),
    ):
        (wanted,) = torch.autograd.grad(second(first(x)).sum(), x)
        limits = Activation.of(first).then(Activation.of(second))
        assert torch.equal(limits.forward(x), second(first(x)))
        assert torch.equal(limits.backward(torch.ones_like(x), x.detach()), wanted)


def test_slopes_have_the_gradient_of_a_prelu():
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    slopes = torch.tensor([0.2, -1.0, 3.0])
    gradient = torch.randn(2, 3, 4, 4)
    prelu = nn.PReLU(3)
    with torch.no_grad():
        prelu.weight.copy_(slopes)
    (wanted,) = torch.autograd.grad(prelu(x), x, gradient)
    torch.testing.assert_close(Activation.of(prelu).backward(gradient, x.detach()), wanted)


def live_bytes(run) -> int:
    """The most bytes that a backward pass finds kept, each storage counted once."""
    kept: dict[int, int] = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(kept.values())


def test_less_is_kept_than_by_the_plain_definition(chips):
    explainer = Explainer(wrap(network(nn.PReLU(6), nn.PReLU(6))))
    lean = live_bytes(lambda: explainer.explain(chips))
    full = live_bytes(lambda: explainer.differentiate(chips))
    assert lean < 0.8 * full


class Both(nn.Module):
    """A normalisation's output is the embedding, and an activation reads it too."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 6)
        self.bn, self.relu = nn.BatchNorm2d(5), nn.ReLU()

    def forward(self, x):
        embedding = self.bn(self.last(self.conv(x)))
        return embedding, self.relu(embedding)


def test_an_output_among_several_ends_a_chain(chips):
    explainer = Explainer(wrap(Both(), output=0))
    maps = explainer.explain(chips)
    assert maps.backend == "fused"
    assert_same(maps, plain(explainer, chips))


def test_operations_are_fused_within_autocast(chips):
    recognizer = wrap(network(nn.ReLU(), nn.ReLU()), precision="bfloat16")
    maps = Explainer(recognizer).explain(chips)
    assert maps.backend == "fused"
    expected = Explainer(recognizer, backend="plain").explain(chips)
    pixel = expected.overall.amax(dim=(1, 2))
    assert ((maps.overall - expected.overall).abs().amax(dim=(1, 2)) <= 2e-2 * pixel).all()


def test_one_channel_is_fused(chips):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)
    )
    explainer = Explainer(wrap(net, channels="GRAY", mean=(127.5,), std=(127.5,)))
    maps = explainer.explain(chips)
    assert maps.backend == "fused"
    assert_same(maps, plain(explainer, chips))
