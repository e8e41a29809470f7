"""A recognizer: preprocessing, embedding, similarity, and the module left as it was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from leam.errors import CardError, InputError, LeamWarning, ModelError
from leam.recognizers.architectures import architecture
from leam.recognizers.card import Card
from leam.recognizers.catalogue import load_recognizer
from leam.recognizers.recognizer import Recognizer
from tiny import TinyNet, wrap


class Then(nn.Module):
    """A small network whose embedding is passed through a function."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.function = TinyNet(), function

    def forward(self, x):
        return self.function(self.net(x))


def test_preprocessing_by_hand():
    card = Card(name="m", input_size=(1, 1), channels="BGR", mean=(1, 2, 3), std=(2, 4, 8))
    chips = np.array([10, 20, 30], np.uint8).reshape(1, 1, 1, 3)
    inputs = Recognizer(nn.Identity(), card).preprocess(chips)
    assert inputs.flatten().tolist() == [(30 - 1) / 2, (20 - 2) / 4, (10 - 3) / 8]


def test_embedding_in_pieces_is_embedding_at_once(tiny, chips):
    torch.testing.assert_close(tiny.embed(chips, batch_size=2), tiny.embed(chips))


def test_nothing_of_the_module_is_changed(tiny, chips):
    tiny.module.train()
    tiny.module.conv1.eval()
    tiny.module.conv2.weight.requires_grad_(False)
    tiny.embed(chips)
    assert tiny.module.training
    assert not tiny.module.conv1.training
    assert not tiny.module.conv2.weight.requires_grad
    assert all(parameter.grad is None for parameter in tiny.module.parameters())


def test_similarity_is_cosine_or_minus_distance():
    a, b = torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0], [3.0, 4.0]])
    kinds = {kind: wrap(nn.Identity(), similarity=kind) for kind in ("cosine", "euclidean")}
    assert kinds["cosine"].similarity(a, b).tolist() == pytest.approx([24 / 25, 1])
    assert kinds["euclidean"].similarity(a, b).tolist() == pytest.approx([-(2**0.5), 0])


@pytest.mark.parametrize("shape", [(5, 8, 9, 3), (5, 3, 8, 8), (8, 8, 3)])
def test_chips_of_another_shape_are_refused(tiny, shape):
    with pytest.raises(ModelError, match=r"tiny: chips of shape \("):
        tiny.embed(torch.zeros(shape))


def test_outputs_that_are_no_embedding_are_refused(chips):
    with pytest.raises(ModelError, match=r"embeddings of shape \(5, 6\) .* expected \(5, 7\)"):
        wrap(TinyNet(), embedding_size=7).embed(chips)
    with pytest.raises(ModelError, match=r"embeddings of shape \(30,\) .* expected \(5, D\)"):
        wrap(Then(lambda e: e.flatten())).embed(chips)
    with pytest.raises(ModelError, match=r"embeddings of torch.int64, expected floats"):
        wrap(Then(lambda e: e.argmax(1, keepdim=True))).embed(chips)


def test_an_architecture_can_be_registered(tmp_path):
    @architecture("tiny_test")
    def build(card, path):
        assert path.read_bytes() == b"w"
        return TinyNet()

    (tmp_path / "w.bin").write_bytes(b"w")
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\narchitecture = "tiny_test"\nfile = "w.bin"\ninput_size = [8, 8]'
    )
    assert isinstance(load_recognizer(tmp_path / "mine.toml").module, TinyNet)


def test_unknown_names_list_the_available(tmp_path):
    with pytest.raises(CardError, match="eigenfaces: no such recognizer; `leam models` lists them"):
        load_recognizer("eigenfaces")
    with pytest.raises(ModelError, match=r"vgg: no such architecture; available: .*onnx"):
        load_recognizer(Card(name="m", architecture="vgg"))


def test_options_are_checked(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"w")
    card = Card(name="m", architecture="iresnet", file="w.pth", options={"dpeth": 50})
    with pytest.raises(CardError, match=r"m: options.dpeth is not known; available: depth, eps"):
        load_recognizer(card, folder=tmp_path)
    assert Card(name="m", options={"eps": 1}).number("eps", 0.5) == 1
    with pytest.raises(CardError, match=r"m: options.eps is 'small', not a number"):
        Card(name="m", options={"eps": "small"}).number("eps", 0.5)


@pytest.mark.parametrize(
    ("container", "fields"),
    [
        (lambda e: (e, e.norm(dim=1, keepdim=True)), {"output": 0}),
        (lambda e: {"embedding": e}, {}),
        (lambda e: {"embedding": e, "logits": e @ e.T}, {"output": "embedding"}),
        (lambda e: [e[:, :2], e], {"embedding_size": 6}),
    ],
)
def test_the_embedding_is_found_in_a_container(chips, container, fields):
    expected = wrap(Then(lambda e: e)).embed(chips)
    assert torch.equal(wrap(Then(container), **fields).embed(chips), expected)


def test_grey_networks_see_the_luminance(chips):
    class First(nn.Module):
        def forward(self, x):
            assert x.shape[1:] == (1, 8, 8)
            return x

    recognizer = wrap(First(), channels="GRAY", mean=(100,), std=(50,))
    found = recognizer.embed(chips).view(5, 8, 8) * 50 + 100
    grey = [np.asarray(Image.fromarray(np.asarray(chip)).convert("L")) for chip in chips]
    # PIL rounds to whole numbers.
    np.testing.assert_allclose(found, np.stack(grey), atol=0.51)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_modules_of_other_types_run_as_copies_in_float32(chips, dtype):
    module = Then(lambda e: e).to(dtype)
    recognizer = wrap(module)
    found = recognizer.embed(chips)
    assert found.dtype == torch.float32
    assert recognizer.precision == "float32"
    expected = module.double()(recognizer.preprocess(chips).double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_the_callers_module_keeps_its_type(chips):
    module = TinyNet().half()
    wrap(module).embed(chips)
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float16}


def test_a_module_that_insists_on_its_type_is_refused_with_the_cause(chips):
    class Stubborn(TinyNet):
        def forward(self, x):
            return super().forward(x.half())

    with pytest.raises(ModelError, match=r"parameters of torch.float16, and its copy in float32"):
        wrap(Stubborn().half()).embed(chips)


def test_bfloat16_is_close_and_leaves_the_weights(chips):
    module = Then(lambda e: e)
    exact = wrap(module).embed(chips)
    recognizer = wrap(module, precision="bfloat16")
    found = recognizer.embed(chips)
    assert found.dtype == torch.float32
    assert not torch.equal(found, exact)
    assert torch.cosine_similarity(found, exact).min() > 0.999
    assert recognizer.sha256 == wrap(module).sha256
    assert module.net.conv1.weight.dtype == torch.float32


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("how", ["script", "trace", "freeze"])
def test_scripted_and_traced_modules_embed(chips, how):
    torch.manual_seed(0)
    module = TinyNet().eval()
    expected = wrap(module).embed(chips)
    make = {
        "script": torch.jit.script,
        "trace": lambda module: torch.jit.trace(module, torch.zeros(1, 3, 8, 8)),
        "freeze": lambda module: torch.jit.freeze(torch.jit.script(module)),
    }
    scripted = make[how](module)
    torch.testing.assert_close(wrap(scripted).embed(chips), expected)


def test_the_batch_size_is_that_of_a_pass(chips):
    sizes = []
    module = Then(lambda e: e)
    module.register_forward_hook(lambda _module, inputs, _output: sizes.append(len(inputs[0])))
    recognizer = wrap(module, batch_size=2)
    recognizer.embed(chips)
    recognizer.embed(chips, batch_size=4)
    assert sizes == [2, 2, 1, 4, 1]
    with pytest.raises(InputError, match="batch size 0: must be at least 1"):
        wrap(module, batch_size=0)


def test_exported_programs_embed_and_what_is_no_module_is_refused(chips):
    module = TinyNet().eval()
    batch = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(module, (torch.zeros(2, 3, 8, 8),), dynamic_shapes=batch)
    torch.testing.assert_close(wrap(program.module()).embed(chips), wrap(module).embed(chips))
    with pytest.raises(ModelError, match=r"ExportedProgram is not a torch.nn.Module; .*\.module"):
        wrap(program)
    with pytest.raises(ModelError, match=r"function is not a torch.nn.Module; use leam.BlackBox"):
        wrap(lambda x: x)


def test_half_modules_that_cannot_be_copied_are_refused_with_the_way_out(chips):
    module = TinyNet().half()
    module.computed = module.conv1.weight * 2
    with pytest.raises(ModelError, match=r"torch.float16 and cannot be copied .*module.float\(\)"):
        wrap(module)


def test_modules_made_in_inference_mode_have_gradients(tiny, chips):
    with torch.inference_mode():
        module = TinyNet()
        module.load_state_dict(tiny.module.state_dict())
    recognizer = Recognizer(module, tiny.card)
    torch.testing.assert_close(recognizer.embed(chips), tiny.embed(chips))
    inputs = recognizer.preprocess(chips).requires_grad_()
    recognizer.forward(inputs).sum().backward()
    assert inputs.grad is not None


def test_another_number_of_channels_names_the_cards_field(tiny, chips):
    fields = tiny.card.model_dump(exclude_unset=True) | {
        "channels": "GRAY",
        "mean": (0,),
        "std": (255,),
    }
    with pytest.raises(
        ModelError, match=r"cannot run an input of shape \(.* set the card's channels"
    ):
        Recognizer(tiny.module, Card(**fields)).embed(chips)


def test_a_program_for_one_face_is_refused_with_the_way_out(tiny, chips):
    example = tiny.preprocess(chips[:1])
    program = torch.export.export(tiny.module.eval(), (example,)).module()
    with pytest.raises(
        ModelError, match=r"Guard failed.*export the program with a free batch size"
    ):
        Recognizer(program, tiny.card).embed(chips)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            TinyNet,
            r"^tiny: TinyNet is not a torch.nn.Module; give an instance, such as TinyNet\(\)$",
        ),
        (TinyNet().state_dict(), "OrderedDict is not .* state dict, load it into its network"),
        ("net.toml", "str is not .* leam.load_recognizer takes the path of a card$"),
        (Path("net.toml"), "Path is not .* leam.load_recognizer"),
    ],
    ids=["class", "state dict", "text", "path"],
)
def test_what_is_no_module_is_refused_with_the_way_out(given, message):
    with pytest.raises(ModelError, match=message):
        Recognizer(given, Card(name="tiny"))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (nn.LazyConv2d(4, 3), "weight"),
        (nn.Sequential(nn.LazyBatchNorm2d(affine=False)), "0.running_mean"),
    ],
    ids=["parameters", "buffers"],
)
def test_a_lazy_module_is_an_error(module, name):
    with pytest.raises(ModelError, match=rf"^lazy: {name} of a lazy module .* run the module once"):
        Recognizer(module, Card(name="lazy"))


def test_a_module_that_drops_the_axis_of_a_single_face(chips):
    plain, squeezed = wrap(Then(lambda output: output)), wrap(Then(torch.squeeze))
    assert squeezed.embed(chips[:1]).equal(plain.embed(chips[:1]))
    assert squeezed.embed(chips).equal(plain.embed(chips))
    # One value for each face is no embedding of one face.
    for count in (1, 5):
        with pytest.raises(ModelError, match=rf"shape \({count},\) for {count} faces"):
            wrap(Then(lambda output: output[:, 0])).embed(chips[:count])


def test_a_module_whose_weights_were_not_loaded_is_an_error():
    with pytest.raises(ModelError, match=r"0.weight is on the meta device .* assign=True"):
        Recognizer(nn.Sequential(nn.Conv2d(3, 4, 3, device="meta")), Card(name="empty"))


@pytest.mark.parametrize(
    ("first", "channels"),
    [
        (nn.Conv2d(1, 4, 3), "RGB"),
        (nn.Conv2d(3, 4, 3), "GRAY"),
        (nn.BatchNorm2d(1), "RGB"),
        (nn.LayerNorm([1, 8, 8]), "RGB"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), "RGB"),
    ],
)
def test_a_module_of_other_inputs_than_the_cards_is_one_line(first, channels):
    card = Card(name="other", input_size=(8, 8), channels=channels)
    module = nn.Sequential(first, nn.Flatten())
    with pytest.raises(ModelError, match=r"other: .*set the card's channels and input_size$") as e:
        Recognizer(module, card).forward(torch.zeros(1, *card.input_shape))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(("scale", "count"), [(0.0, 3), (float("nan"), 3)])
def test_embeddings_that_have_no_similarity_are_a_warning(tiny, chips, scale, count):
    broken = wrap(Then(lambda found: found * scale))
    with pytest.warns(
        LeamWarning, match=f"tiny: {count} of {count} embeddings are zero or not finite"
    ):
        broken.embed(chips[:count])
    tiny.embed(chips)
