"""YuNet through OpenCV, with a small network of YuNet's outputs that sees red."""

import numpy as np
import pytest

from leam.errors import WeightsError
from leam.faces.detectors import DETECTORS, load_detector
from leam.faces.detectors.yunet import YunetDetector

onnx = pytest.importorskip("onnx")
POINTS = [-1, -1, 1, -1, 0, 0, -1, 1, 1, 1]


def write_yunet(path, leave_out=""):
    """A face of four strides' width at each place of stride 8 that is red."""
    helper, array = onnx.helper, onnx.numpy_helper.from_array
    nodes, weights, outputs = [], [], []
    for stride in (8, 16, 32):
        red = np.zeros((1, 3, stride, stride), np.float32)
        # The third channel of BGR.
        red[:, 2] = 1 / (255 * stride**2) if stride == 8 else 0
        for kind, kernel, bias in (
            ("cls", red, [0]),
            ("obj", red, [0]),
            ("bbox", np.repeat(red * 0, 4, axis=0), [0.5, 0.5, np.log(4), np.log(4)]),
            ("kps", np.repeat(red * 0, 10, axis=0), POINTS),
        ):
            name = f"{kind}_{stride}"
            if name == leave_out:
                continue
            weights += [
                array(kernel, f"{name}_w"),
                array(np.array(bias, np.float32), f"{name}_b"),
                array(np.array([1, -1, len(bias)], np.int64), f"{name}_s"),
            ]
            nodes += [
                helper.make_node(
                    "Conv", ["input", f"{name}_w", f"{name}_b"], [f"{name}_c"],
                    strides=[stride, stride], kernel_shape=[stride, stride],
                ),
                helper.make_node("Transpose", [f"{name}_c"], [f"{name}_t"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{name}_t", f"{name}_s"], [name]),
            ]  # fmt: skip
            places = (640 // stride) ** 2
            outputs.append(
                helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, places, len(bias)])
            )
    image = helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, 3, 640, 640])
    graph = helper.make_graph(nodes, "yunet", [image], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7)
    onnx.save(model, path)
    return path


@pytest.fixture
def yunet(tmp_path):
    return write_yunet(tmp_path / "tiny_yunet.onnx")


def red_square(height=1280, width=1280):
    picture = np.zeros((height, width, 3), np.uint8)
    # Row 10 and column 20 of stride 8 in the network's input.
    picture[160:176, 320:336, 0] = 255
    # Blue is not red.
    picture[400:416, 320:336, 2] = 255
    return picture


@pytest.mark.parametrize("shape", [(1280, 1280), (900, 1280), (1280, 700)])
def test_box_points_and_score_in_pixels_of_the_picture(yunet, shape):
    found = YunetDetector(yunet).find(red_square(*shape))
    np.testing.assert_allclose(found.boxes, [[296, 136, 360, 200]], atol=0.01)
    points = 16 * (np.array(POINTS).reshape(5, 2) + np.array([20, 10]))
    np.testing.assert_allclose(found.points, [points + 0.5], atol=0.01)
    np.testing.assert_allclose(found.scores, [1], atol=1e-3)


def test_a_named_file_is_a_detector(yunet):
    detector = load_detector(str(yunet))
    assert detector.name == "tiny_yunet.onnx"
    (face,) = detector.detect(red_square())
    assert face.five_points.shape == (5, 2)
    assert face.landmarks.shape == (68, 2)
    assert detector.detect(np.zeros((300, 300, 3), np.uint8)) == []


def test_the_variable_names_the_file(yunet, monkeypatch):
    monkeypatch.setenv("LEAM_YUNET", str(yunet))
    assert len(load_detector("yunet").detect(red_square())) == 1
    monkeypatch.delenv("LEAM_YUNET")
    with pytest.raises(WeightsError, match="set LEAM_YUNET to the path"):
        load_detector("yunet")


def test_the_plan_knows_the_file_by_its_hash(yunet, tmp_path):
    first = DETECTORS.origin(str(yunet))
    assert first.startswith("sha256 ")
    assert str(yunet) in DETECTORS
    yunet.write_bytes(yunet.read_bytes() + b"\0")
    assert DETECTORS.origin(str(yunet)) != first
    with pytest.raises(WeightsError, match=r"nowhere\.onnx: cannot be read"):
        DETECTORS.origin(str(tmp_path / "nowhere.onnx"))


def test_files_of_other_networks_are_refused(tmp_path):
    other = write_yunet(tmp_path / "other.onnx", leave_out="kps_32")
    with pytest.raises(WeightsError, match=r"other\.onnx is not a YuNet of 2023 or later"):
        YunetDetector(other)
    pytest.importorskip("onnxruntime")
    with pytest.raises(WeightsError, match=r"other\.onnx is not an SCRFD with key points"):
        load_detector(str(other))
    with pytest.raises(WeightsError, match=r"nowhere\.onnx: no such file"):
        load_detector(str(tmp_path / "nowhere.onnx"))
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes((tmp_path / "other.onnx").read_bytes()[:999])
    with pytest.raises(WeightsError, match=r"damaged\.onnx"):
        load_detector(str(damaged))


def test_a_yunet_that_is_cut_short_is_refused(yunet):
    # The names of the outputs are at the end of the file: it begins with damage instead.
    yunet.write_bytes(b"\xff" * 40 + yunet.read_bytes()[40:])
    with pytest.raises(WeightsError, match=r"OpenCV cannot read .*tiny_yunet\.onnx"):
        YunetDetector(yunet)
