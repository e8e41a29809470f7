import numpy as np
import pytest
import torch
from torch import nn

from leam.errors import WeightsError
from leam.faces.alignment import transform_points
from leam.parsers.builtin.facer import celeba_hq_frame, read_facer
from leam.parsers.network import inverse


class Tiny(nn.Module):
    """Answers like FaRL: scores of the pictures' size, and features."""

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores = torch.cat([pictures] * 7, dim=1)[:, :19]
        return scores, pictures


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "farl.pt"
    with torch.no_grad():
        traced = torch.jit.trace(Tiny(), torch.zeros(1, 3, 448, 448))
    torch.jit.save(traced, str(path))
    return path


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_script_gets_pictures_of_0_to_1_and_its_scores_are_taken(script):
    parser = read_facer(script)
    assert len(parser.labels) == 19
    assert parser.labels[10] == "nose"
    scores = parser.network(torch.full((1, 3, 448, 448), 51.0))
    assert scores.shape == (1, 19, 448, 448)
    assert torch.allclose(scores, torch.tensor(0.2))


def test_the_frame_is_upright_square_and_as_wide_as_published():
    """Eyes 100 apart, mouth 100 below: the frame reaches 200 from its centre, 10 below the eyes."""
    five = np.array([[50.0, 80], [150, 80], [100, 130], [70, 180], [130, 180]])
    corners = transform_points(
        inverse(celeba_hq_frame(five, 448)), np.array([[-0.5, -0.5], [447.5, 447.5]])
    )
    np.testing.assert_allclose(corners, [[-100, -110], [300, 290]], atol=1e-9)


def test_a_turned_face_turns_the_frame():
    five = np.array([[50.0, 80], [150, 80], [100, 130], [70, 180], [130, 180]])
    turned = five @ np.array([[0.0, 1], [-1, 0]])
    points = np.array([[10.0, 20]])
    upright = transform_points(celeba_hq_frame(five, 448), points)
    np.testing.assert_allclose(
        transform_points(celeba_hq_frame(turned, 448), points @ np.array([[0.0, 1], [-1, 0]])),
        upright,
    )


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_errors_are_one_line(tmp_path):
    (tmp_path / "no.pt").write_text("no script")
    with pytest.raises(WeightsError, match=r"no\.pt: not a TorchScript file") as raised:
        read_facer(tmp_path / "no.pt")
    assert "\n" not in str(raised.value)
