"""The comparisons of an audit: which pictures of a study are compared, and how similar each recognizer finds them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from leam.metrics.error_rates import Comparisons, Indices
from leam.recognizers.card import Similarity
from leam.recognizers.recognizer import similarity
from leam.study.explained import EXPLAIN, Explained
from leam.study.plan import Plan
from leam.study.run_data import RunData

MOST_IMPOSTORS = 5_000_000
"""Impostor comparisons that are drawn at random if there are more."""
# Pairs are drawn from all pairs, or from this many times as many as needed: some repeat, or are of one person.
_MANY = 2
# Comparisons whose embeddings are in memory at once.
_BLOCK = 20_000
# Among at most so many pictures, all similarities are computed if there are more pairs than pictures.
_MOST_IN_A_TABLE = 8000


@dataclass(frozen=True)
class Compared:
    """The comparisons of a study's pictures by one recognizer.

    Attributes:
        comparisons: Scores, and positions of people in ``people``.
        people: Names of the people.
        position: Position of each picture in the plan, ``(n,)``, ascending.
        embeddings: Their embeddings, ``(n, D)``.
        rows: The two pictures of each comparison among these, ``(N, 2)``.
        drawn: Whether the impostor comparisons are a random sample of all.
    """

    comparisons: Comparisons
    people: list[str]
    position: Indices
    embeddings: NDArray[np.float32]
    rows: Indices
    drawn: bool

    @property
    def pairs(self) -> Indices:
        """Positions of both pictures in the plan, ``(N, 2)``."""
        return self.position[self.rows]

    def at(self, places: Indices) -> Compared:
        """The comparisons at these places."""
        some = self.comparisons
        chosen = Comparisons(
            some.scores[places], some.first[places], some.second[places], some.people
        )
        return replace(self, comparisons=chosen, rows=self.rows[places])


def compared(run: RunData, recognizer: str) -> Compared | None:
    """Compare a study's pictures: the pairs of its plan.

    Without such pairs, every two pictures of one person, and at most :data:`MOST_IMPOSTORS` of different people.

    Args:
        run: A study with stored embeddings.
        recognizer: Name of the recognizer.

    Returns:
        The same comparisons for every recognizer that could use the same pictures; None without embeddings, or unless
        there are both genuine and impostor comparisons.
    """
    return run.once(("comparisons", recognizer), lambda: _compared(run, recognizer))


def _compared(run: RunData, recognizer: str) -> Compared | None:
    parts = list(run.shards(Explained, EXPLAIN, recognizer, ["position", "embedding"]))
    if not parts:
        return None
    position = np.concatenate([part.position for part in parts])
    embeddings = np.concatenate([part.embedding for part in parts])
    names = [run.plan.images[place].person for place in position.tolist()]
    people, person = np.unique(names, return_inverse=True)
    if run.plan.pairs:
        rows, drawn = _planned(run.plan, position), False
    else:
        impostors, drawn = impostor_pairs(person, MOST_IMPOSTORS, run.settings.seed)
        rows = np.concatenate([genuine_pairs(person), impostors])
    same = person[rows[:, 0]] == person[rows[:, 1]]
    if not same.any() or same.all():
        return None
    kind = run.plan.model(recognizer).card.similarity
    return Compared(
        Comparisons(
            scores_of(embeddings, rows, kind),
            person[rows[:, 0]],
            person[rows[:, 1]],
            len(people),
        ),
        people.tolist(),
        position,
        embeddings,
        rows,
        drawn,
    )


def _planned(plan: Plan, position: Indices) -> Indices:
    """The rows of a plan's pairs among the pictures at these positions; pairs with another picture are left out."""
    row = np.full(len(plan.images), -1)
    row[position] = np.arange(len(position))
    rows = row[np.array(plan.pairs)]
    return np.asarray(rows[(rows >= 0).all(axis=1)])


def genuine_pairs(person: Indices) -> Indices:
    """Every two pictures of one person, ``(N, 2)``.

    Args:
        person: The person of each picture, ``(n,)``.
    """
    order = np.argsort(person, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(person[order])) + 1)
    pairs = [group[np.stack(np.triu_indices(len(group), 1), axis=1)] for group in groups]
    return np.sort(np.concatenate(pairs), axis=1)


def impostor_pairs(person: Indices, most: int, seed: int) -> tuple[Indices, bool]:
    """Pictures of different people, ``(N, 2)``: every two, or a random sample without repetition.

    Args:
        person: The person of each picture, ``(n,)``.
        most: Most pairs.
        seed: Random seed.

    Returns:
        The pairs, and whether they are a sample.
    """
    n, of_person = len(person), np.bincount(person)
    total = n * (n - 1) // 2
    possible = total - int((of_person * (of_person - 1) // 2).sum())
    drawn = possible > most
    numbers = np.arange(total) if total <= _MANY * most else _sample(total, _MANY * most, seed)
    if drawn:
        numbers = np.random.default_rng(seed).permutation(numbers)
    pairs = _numbered(numbers)
    pairs = pairs[person[pairs[:, 0]] != person[pairs[:, 1]]]
    return pairs[:most], drawn


def _sample(total: int, size: int, seed: int) -> Indices:
    """Different numbers below ``total``, at most ``size``."""
    return np.unique(np.random.default_rng(seed).integers(total, size=size))


def _numbered(numbers: Indices) -> Indices:
    """The pairs with these numbers when all ``i < j`` are numbered by ``j``, then ``i``; ``(N, 2)``."""
    second = np.floor((1 + np.sqrt(1 + 8 * numbers.astype(np.float64))) / 2).astype(np.int64)
    # The root of a large number can be off by one.
    second -= second * (second - 1) // 2 > numbers
    second += second * (second + 1) // 2 <= numbers
    first = numbers - second * (second - 1) // 2
    return np.stack([first, second], axis=1)


def scores_of(
    embeddings: NDArray[np.float32], pairs: Indices, kind: Similarity
) -> NDArray[np.float64]:
    """Similarities of pairs of rows of embeddings ``(n, D)``, in blocks; ``(N,)``."""
    values = torch.from_numpy(embeddings)
    # Results are written in place: small ones that stay between large temporary ones would keep gigabytes.
    if len(values) <= _MOST_IN_A_TABLE < len(pairs):
        table = np.empty((len(values), len(values)), dtype=np.float32)
        for row, one in enumerate(values):
            table[row] = similarity(one, values, kind).numpy()
        return table[pairs[:, 0], pairs[:, 1]].astype(np.float64)
    scores = np.empty(len(pairs))
    for start in range(0, len(pairs), _BLOCK):
        first, second = pairs[start : start + _BLOCK].T
        scores[start : start + _BLOCK] = similarity(values[first], values[second], kind).numpy()
    return scores
