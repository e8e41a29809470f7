"""A recognizer's SHA-256 is true: whatever its card claims, and whatever happened to its weights since."""

import copy
import hashlib
import pickle

import pytest
import torch
from torch import nn

from leam.errors import WeightsError
from leam.metrics.robustness import cascade
from leam.recognizers.architectures import architecture
from leam.recognizers.card import Card
from leam.recognizers.catalogue import load_recognizer
from leam.recognizers.recognizer import Recognizer
from tiny import TinyNet, wrap


@architecture("identity_test")
def build(card, path):
    module = TinyNet()
    module.load_state_dict(torch.load(path, weights_only=True))
    return module.eval()


def save(path, seed=0):
    torch.manual_seed(seed)
    torch.save(TinyNet().state_dict(), path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def loaded(tmp_path):
    """A recognizer from a file, and the file's SHA-256."""
    sha256 = save(tmp_path / "w.pth")
    card = Card(
        name="tiny",
        architecture="identity_test",
        file="w.pth",
        sha256=sha256,
        input_size=(8, 8),
    )
    return load_recognizer(card, folder=tmp_path), sha256


def test_of_a_verified_file_it_is_the_files(loaded):
    recognizer, sha256 = loaded
    assert recognizer.sha256 == sha256


def test_of_a_file_without_a_checksum_it_is_the_parameters(tmp_path):
    sha256 = save(tmp_path / "w.pth")
    card = Card(name="tiny", architecture="identity_test", file="w.pth")
    recognizer = load_recognizer(card, folder=tmp_path)
    assert recognizer.sha256 == Recognizer(recognizer.module, card).sha256 != sha256


def test_a_card_cannot_claim_a_checksum_for_a_module_in_memory():
    claimed = "0" * 64
    honest, lying = wrap(TinyNet()), wrap(TinyNet(), sha256=claimed)
    lying.module.load_state_dict(honest.module.state_dict())
    assert lying.sha256 == honest.sha256 != claimed


def test_every_parameter_and_buffer_counts():
    module = nn.BatchNorm2d(3)
    module.register_buffer("hidden", torch.zeros(2, dtype=torch.bfloat16), persistent=False)
    recognizer = wrap(module)
    seen = {recognizer.sha256}
    for _, tensor in [*module.named_parameters(), *module.named_buffers()]:
        with torch.no_grad():
            tensor.add_(1)
        seen.add(recognizer.sha256)
    assert len(seen) == 1 + 2 + 4


def in_place(module):
    with torch.no_grad():
        module.conv1.weight.mul_(2)


def behind_autograd(module):
    module.conv1.weight.data.mul_(2)


def through_numpy(module):
    module.conv1.weight.detach().numpy()[:] = 0


def order_only(module):
    module.conv1.weight.data = module.conv1.weight.data.flip(0)


def replaced(module):
    module.conv1 = copy.deepcopy(module.conv1)
    module.conv1.weight = nn.Parameter(module.conv1.weight + 1)


def buffers(module):
    module.register_buffer("extra", torch.zeros(1))


@pytest.mark.parametrize(
    "change", [in_place, behind_autograd, through_numpy, order_only, replaced, buffers]
)
def test_a_module_changed_after_loading_is_no_longer_the_files(loaded, change):
    recognizer, sha256 = loaded
    change(recognizer.module)
    assert recognizer.sha256 != sha256


def test_randomising_and_restoring_the_weights_restores_the_identity(loaded):
    recognizer, sha256 = loaded
    seen = []

    def explain():
        seen.append(recognizer.sha256)
        return torch.rand(1, 16, 16)

    cascade(recognizer.module, explain, torch.rand(2, 3, *recognizer.card.input_size), 0, 2)
    assert seen[0] == sha256
    assert len(set(seen)) == 3
    assert recognizer.sha256 == sha256


def test_a_copy_in_another_process_keeps_the_identity(loaded):
    recognizer, sha256 = loaded
    copied = pickle.loads(pickle.dumps(recognizer))
    assert copied.sha256 == copy.deepcopy(recognizer).sha256 == sha256
    in_place(copied.module)
    assert copied.sha256 != sha256
    assert pickle.loads(pickle.dumps(copied)).sha256 == copied.sha256


def test_another_module_or_card_cannot_be_put_into_a_recognizer(loaded):
    recognizer, _ = loaded
    for name, value in (("module", TinyNet()), ("card", Card(name="other")), ("sha256", "0" * 64)):
        with pytest.raises(AttributeError):
            setattr(recognizer, name, value)


def test_another_file_than_the_cards_is_refused(tmp_path):
    save(tmp_path / "w.pth")
    card = Card(name="tiny", architecture="identity_test", file="w.pth", sha256="0" * 64)
    with pytest.raises(WeightsError, match=r"w.pth has sha256 \w+, not the card's 0{64}"):
        load_recognizer(card, folder=tmp_path)
    with pytest.raises(WeightsError, match=r"w.pth has sha256 \w+, not the card's 0{64}"):
        Recognizer.load(card, tmp_path / "w.pth")


def test_a_file_exchanged_while_it_is_read_is_refused(tmp_path):
    @architecture("slow_test")
    def read_slowly(card, path):
        save(path, seed=1)
        return build.build(card, path)

    card = Card(
        name="tiny", architecture="slow_test", file="w.pth", sha256=save(tmp_path / "w.pth")
    )
    with pytest.raises(WeightsError, match=r"w.pth changed while it was read"):
        load_recognizer(card, folder=tmp_path)
