"""Person maps: estimates, and pictures that they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from leam.errors import InputError
from leam.explain.masks import critical_mask
from leam.explain.person import PERSON_MAPS, PersonMap, Population, person_map

SIDE = 32


def spot(row: int, column: int) -> Tensor:
    """A smooth spot, ``(SIDE, SIDE)``, sum 1."""
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    values = torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 18.0)
    return values / values.sum()


def noisy(place: tuple[int, int], generator: torch.Generator, noise: float) -> Tensor:
    """The map of a person whose spot is at ``place``, beside the spot that everybody has; sum 1."""
    values = (
        2 * spot(16, 16) + spot(*place) + noise * spot(16, 16) * torch.randn(1, generator=generator)
    )
    elsewhere = torch.randint(4, SIDE - 4, (2,), generator=generator).tolist()
    values = values + noise * spot(*elsewhere)
    return values / values.sum()


def people_of(count: int, pictures: int, noise: float = 1.0) -> tuple[Tensor, list[str], list[str]]:
    """Maps of people, each with an own spot at one of eight places, with the people and pictures."""
    generator = torch.Generator().manual_seed(0)
    maps, people, names = [], [], []
    for person in range(count):
        for picture in range(pictures):
            maps.append(noisy(place_of(person), generator, noise))
            people.append(f"person {person}")
            names.append(f"{person}/{picture}")
    return torch.stack(maps), people, names


def place_of(person: int) -> tuple[int, int]:
    """The place of a person's own spot."""
    return [(6, 6), (6, 16), (6, 26), (16, 6), (16, 26), (26, 6), (26, 16), (26, 26)][person % 8]


def test_mean_is_the_mean_of_the_maps() -> None:
    maps = torch.stack([spot(8, 8), spot(20, 20)])
    found = person_map(maps, ["a", "b"])
    torch.testing.assert_close(found.map, maps.mean(dim=0))
    assert found.pictures == ("a", "b")
    assert found.estimate == "mean"


def test_empty_maps_are_ignored() -> None:
    maps = torch.stack([spot(8, 8), torch.zeros(SIDE, SIDE)])
    torch.testing.assert_close(person_map(maps, ["a", "b"]).map, maps[0])
    with pytest.raises(InputError, match="no picture of the person has a map"):
        person_map(maps[1:], ["b"])


def test_own_pictures_are_refused() -> None:
    found = person_map(spot(8, 8)[None], ["a"])
    assert torch.equal(found.mask_for("b"), critical_mask(found.map))
    with pytest.raises(InputError, match=r"^a: .* cannot be applied to it"):
        found.mask_for("a")
    with pytest.raises(InputError, match=r"^a: .* cannot be compared with a map of it"):
        found.overlap(person_map(torch.stack([spot(8, 8), spot(9, 9)]), ["b", "a"]))


def test_overlap_is_the_shared_part_of_the_masks() -> None:
    first, second = (person_map(spot(*at)[None], [str(at)]) for at in ((8, 8), (8, 9)))
    shared = (first.mask(0.05) & second.mask(0.05)).sum() / first.mask(0.05).sum()
    assert 0 < first.overlap(second, 0.05) < 1
    assert first.overlap(second, 0.05) == pytest.approx(float(shared))
    assert PersonMap(torch.zeros(SIDE, SIDE), "mean", ("c",)).overlap(first) == 0


def test_a_picture_occurs_once() -> None:
    with pytest.raises(InputError, match="a: occurs twice"):
        person_map(torch.stack([spot(8, 8)] * 2), ["a", "a"])


def test_the_population_has_none_of_the_persons_pictures() -> None:
    population = Population.of(*people_of(12, 3))
    with pytest.raises(InputError, match="0/1: belongs to the person and to the population"):
        person_map(spot(8, 8)[None], ["0/1"], "shrunk", population)


def test_shrunk_needs_a_population_of_the_same_size() -> None:
    with pytest.raises(InputError, match="person map shrunk: needs the maps of other people"):
        person_map(spot(8, 8)[None], ["a"], "shrunk")
    with pytest.raises(InputError, match="use one recognizer"):
        person_map(torch.ones(1, 8, 8) / 64, ["a"], "shrunk", Population.of(*people_of(12, 3)))


def test_a_population_needs_people_with_several_pictures() -> None:
    with pytest.raises(InputError, match="0 people with two or more pictures"):
        Population.of(*people_of(12, 1))


def test_population_is_the_mean_of_people_and_their_agreement() -> None:
    maps, people, names = people_of(24, 4)
    # A person with one picture counts as one person in the mean.
    one = spot(3, 3)[None]
    found = Population.of(torch.cat([maps, one]), [*people, "alone"], [*names, "alone"])
    assert (found.people, len(found.pictures)) == (25, 97)
    flat = maps.double().view(24, 4, -1).numpy()
    own = np.concatenate([flat.mean(axis=1), one.double().flatten(1).numpy()])
    np.testing.assert_allclose(found.mean.ravel(), own.mean(axis=0))
    # Analysis of variance by hand: 97 pictures of 25 people.
    within = ((flat - flat.mean(axis=1, keepdims=True)) ** 2).sum() / (97 - 25)
    between = own.var(axis=0, ddof=1).sum() - within * (24 / 4 + 1) / 25
    assert found.agreement == pytest.approx(between / (between + within))
    assert 0 < found.agreement < 1


def test_without_own_places_there_is_no_agreement() -> None:
    maps, _, names = people_of(24, 4)
    shuffled = np.random.default_rng(3).permutation(96)
    people = [f"person {n // 4}" for n in range(96)]
    assert Population.of(maps[torch.from_numpy(shuffled)], people, names).agreement < 0.05


def test_the_weight_grows_with_the_pictures() -> None:
    population = Population(np.zeros((2, 2)), 0.25, 10, frozenset())
    assert [population.weight(k) for k in (1, 3, 9)] == pytest.approx([1 / 4, 1 / 2, 3 / 4])


def test_shrunk_lies_between_the_population_and_the_mean() -> None:
    population = Population.of(*people_of(24, 4))
    maps = torch.stack([spot(8, 8), spot(20, 20)])
    found = person_map(maps, ["a", "b"], "shrunk", population)
    weight = population.weight(2)
    expected = weight * maps.double().mean(dim=0).numpy() + (1 - weight) * population.mean
    np.testing.assert_allclose(found.map.numpy(), expected, rtol=1e-5)


def test_shrunk_is_nearer_to_the_truth_than_the_mean_and_the_population() -> None:
    population = Population.of(*people_of(24, 4))
    generator = torch.Generator().manual_seed(1)
    errors = []
    for person in range(16):
        place = place_of(person)
        truth = noisy(place, generator, 0.0).numpy()
        maps = torch.stack([noisy(place, generator, 1.0) for _ in range(2)])
        guesses = [PERSON_MAPS[name].compute(maps, population) for name in ("shrunk", "mean")]
        errors.append([np.square(guess - truth).sum() for guess in (*guesses, population.mean)])
    own, plain, everybody = np.mean(errors, axis=0)
    assert own < 0.9 * plain
    assert own < 0.9 * everybody
