"""Maps carried from chip to chip meet the same places of the picture."""

import numpy as np
import torch

from leam.faces.alignment import Crop, transform_points
from leam.faces.face import Face
from leam.metrics.geometry import between, carry_maps, carry_masks

RANDOM = np.random.default_rng(0)
CROPS = (Crop((112, 112)), Crop((150, 150), "dlib"), Crop((112, 96), window=(0, 8, 112, 96)))


def face() -> Face:
    five = np.array([[90.0, 100], [150, 104], [118, 140], [96, 170], [144, 172]])
    corners = np.array([[170.0, 104], [132, 102], [70, 100], [106, 100], [118, 146]])
    picture = np.zeros((250, 250, 3), dtype=np.uint8)
    return Face(picture, (60, 60, 190, 200), 1.0, np.zeros((68, 2)), five, corners)


def test_a_point_goes_by_way_of_the_picture():
    points = RANDOM.uniform(60, 180, (5, 2))
    for source in CROPS:
        for target in CROPS:
            first, second = source.matrix(face()), target.matrix(face())
            carried = transform_points(between(first, second), transform_points(first, points))
            np.testing.assert_allclose(carried, transform_points(second, points))


def test_a_map_keeps_its_places_on_the_face():
    one = face()
    for source in CROPS:
        for target in CROPS:
            place = transform_points(source.matrix(one), np.array([[118.0, 140.0]]))[0]
            rows, columns = np.ogrid[: source.size[0], : source.size[1]]
            distance = (rows - place[1]) ** 2 + (columns - place[0]) ** 2
            maps = torch.from_numpy(np.exp(-distance / 32))[None]
            carried = carry_maps(maps, [source.matrix(one)], [target.matrix(one)], target.size)
            assert carried.shape == (1, *target.size)
            torch.testing.assert_close(carried.sum(), torch.tensor(1.0))
            row, column = divmod(int(carried.argmax()), target.size[1])
            wanted = transform_points(target.matrix(one), np.array([[118.0, 140.0]]))[0]
            assert abs(row - wanted[1]) <= 1
            assert abs(column - wanted[0]) <= 1


def test_the_same_geometry_changes_nothing():
    maps = torch.rand(2, 112, 112, generator=torch.Generator().manual_seed(0))
    maps /= maps.sum(dim=(1, 2), keepdim=True)
    matrices = [CROPS[0].matrix(face())] * 2
    torch.testing.assert_close(carry_maps(maps, matrices, matrices, (112, 112)), maps)
    masks = maps.numpy() > maps.numpy().mean()
    assert (carry_masks(masks, matrices, matrices, (112, 112)) == masks).all()


def test_a_map_that_falls_beyond_the_chip_is_empty():
    source = CROPS[0].matrix(face())
    target = source + np.array([[0, 0, 500], [0, 0, 0]])
    assert carry_maps(torch.ones(1, 112, 112), [source], [target], (112, 112)).sum() == 0
