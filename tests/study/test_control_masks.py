"""The masks of a real slice: each control gets the face that it is about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from leam.explain.masks import critical_mask
from leam.metrics.controls.edges import edge_map
from leam.metrics.occlusion import hide
from leam.study.explained import unpacked
from leam.study.masks import CRITICAL, mask_drops, masks_of
from leam.study.scene import Scene
from leam.study.schedule import Job
from leam.study.stages.control_maps import ControlMapStage, random_slices
from leam.study.stages.effect import FILLS, MASKS, PersonEffect
from leam.study.store import RunFolder
from leam.study.worker import Worker
from planned import planned
from small import plan_of, recognizer, study, write_faces

pytestmark = pytest.mark.xdist_group("control masks")


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    """The only slice of a finished study: two people with two pictures each."""
    faces = tmp_path_factory.mktemp("faces")
    write_faces(faces)
    model = recognizer()
    settings = {"top": 0.05, "subset": 2, "effect": True}
    folder = RunFolder(tmp_path_factory.mktemp("run") / "run")
    study(faces, Path(folder.path), model, **settings)
    worker = Worker(plan_of(faces, model, **settings), folder, [model])
    return worker._scene(Job("compare", model.name, 0), worker._loader.batch(0))


def test_each_control_is_about_its_own_face(scene):
    explained, chips = scene.explained, scene.chips.images
    rows = np.arange(4)
    names = [*MASKS, "scattered"]
    masks = dict(
        zip(names, masks_of(scene, names, rows, explained.masks, explained.density), strict=True)
    )
    edges = critical_mask(torch.from_numpy(np.stack([edge_map(chip) for chip in chips])), 0.05)
    maps = torch.from_numpy(explained.density.astype(np.float64))
    others = critical_mask(torch.stack([maps[2:].sum(dim=0), maps[:2].sum(dim=0)]), 0.05).numpy()
    expected = {
        CRITICAL: explained.masks,
        "other_picture": explained.masks[[1, 0, 3, 2]],
        "other_person": explained.masks[[2, 2, 0, 0]],
        "population": others[[0, 0, 1, 1]],
        "edges": edges.numpy(),
        "edges_other_picture": edges.numpy()[[1, 0, 3, 2]],
        "edges_other_person": edges.numpy()[[2, 2, 0, 0]],
    }
    for name, mask in expected.items():
        np.testing.assert_array_equal(masks[name], mask, err_msg=name)
    assert {int(mask.sum()) for found in masks.values() for mask in found} == {29}
    (again,) = masks_of(scene, ["scattered"], rows[:1], explained.masks, explained.density)
    np.testing.assert_array_equal(again[0], masks["scattered"][0])


def test_drops_and_energies_of_each_mask(scene):
    rows, explained = np.array([0, 2]), scene.explained
    masks = [explained.masks[rows], np.zeros((2, 24, 24), dtype=bool)]
    images, clean = scene.chips.images[rows], torch.from_numpy(explained.embedding)[[0, 2]]
    mate = scene.mates[[0, 2]]
    drops, energy = mask_drops(images, masks, clean, mate, scene.recognizer, "mean")
    hidden = hide(images, masks[0], "mean")
    similarity = scene.recognizer.similarity
    expected = similarity(clean, mate) - similarity(scene.recognizer.embed(hidden), mate)
    np.testing.assert_allclose(drops[0], expected, atol=1e-6)
    change = ((hidden.astype(float) - images) / 255) ** 2
    np.testing.assert_allclose(energy[0], change.mean(axis=(1, 2, 3)), rtol=1e-5)
    assert np.isnan(drops[1]).all()
    assert np.isnan(energy[1]).all()


def test_the_effect_is_measured_for_every_fill_and_mask(scene):
    found = PersonEffect().of_slice(scene)
    assert found.drop.shape == found.energy.shape == (4, len(FILLS), len(MASKS))
    masks = masks_of(scene, ["edges"], np.arange(4), scene.explained.masks, scene.explained.density)
    clean = torch.from_numpy(scene.explained.embedding)
    drops, energy = mask_drops(
        scene.chips.images, masks, clean, scene.mates, scene.recognizer, "local_blur"
    )
    place = slice(None), FILLS.index("local_blur"), MASKS.index("edges")
    np.testing.assert_allclose(found.drop[place], drops[0], atol=1e-6)
    np.testing.assert_allclose(found.energy[place], energy[0], rtol=1e-5)
    assert np.isfinite(found.drop).all()


def test_control_maps_are_those_of_edges_and_of_random_weights(scene):
    module = scene.recognizer.module
    before = {name: value.clone() for name, value in module.state_dict().items()}
    found = ControlMapStage().of_slice(scene)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    edges = torch.from_numpy(np.stack([edge_map(chip) for chip in scene.chips.images]))
    np.testing.assert_array_equal(
        unpacked(found.edges, (24, 24)), critical_mask(edges, 0.05).numpy()
    )
    random = unpacked(found.random, (24, 24))
    assert (random.sum(axis=(1, 2)) == 29).all()
    assert (random != scene.explained.masks).any()
    for share in (found.edge_share, found.random_share):
        np.testing.assert_allclose(share.sum(axis=1), 1, atol=1e-5)


def test_random_weights_are_used_in_as_many_slices_as_the_subset_fills():
    people = "".join(letter * 2 for letter in "abcdefghij")
    for subset, count in ((0, 0), (1, 1), (2, 1), (3, 2), (40, 5)):
        assert len(random_slices(planned(people, 2, subset=subset))) == count
    drawn = {random_slices(planned(people, 2, subset=2, seed=seed)) for seed in range(9)}
    assert len(drawn) > 1
