from __future__ import annotations

import numpy as np
import pytest

from leam.errors import WeightsError
from leam.recognizers.architectures.dlib_resnet import build
from leam.recognizers.catalogue import builtin_cards


def test_it_equals_dlibs_own_output(dlib_resnet, assets):
    reference = np.load(assets / "zoo" / "reference.npz")
    found = dlib_resnet.embed(reference["chips150"]).numpy()
    assert np.abs(found - reference["embedding_dlib_resnet"]).max() < 1e-5


def test_it_equals_dlib_run_here(dlib_resnet, portrait, detector):
    import dlib

    from leam.faces.detection import dlib_model, find_face

    chip = dlib_resnet.crop.align(find_face(portrait, detector)).image
    network = dlib.face_recognition_model_v1(
        str(dlib_model("dlib_face_recognition_resnet_model_v1.dat"))
    )
    wanted = np.array(network.compute_face_descriptor(chip))
    assert np.abs(dlib_resnet.embed(chip[None]).numpy()[0] - wanted).max() < 1e-5


@pytest.mark.parametrize("data", [b"", b"\x01\x05con_4\x01\x02", b"\x00" * 1000])
def test_another_file_is_refused_in_one_line(tmp_path, data):
    path = tmp_path / "weights.dat"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="not the ResNet-29"):
        build(builtin_cards()["dlib_resnet"], path)
