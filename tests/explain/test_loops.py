"""Loops run once over everything, on as many threads as torch has."""

from __future__ import annotations

import pytest
import torch

from leam.explain.backends import kernels as loops
from leam.explain.backends.kernels import loop, share, sizes, vector


@loop()
def _count(data):
    counts, parts = vector(data, 0, sizes(data, 1)[0]), vector(data, 1, sizes(data, 1)[0])
    first, end = share(data)
    for place in range(first, end):
        counts[place] += 1
        parts[place] = first


@pytest.mark.parametrize("threads", [1, 2, 3], indirect=True)
@pytest.mark.parametrize("places", [1, 2, 1000])
def test_every_place_is_visited_once(threads, places):
    counts, parts = torch.zeros(places), torch.zeros(places)
    _count([places], [counts, parts])
    assert counts.tolist() == [1] * places
    if loops.openmp() is not None:
        assert len(parts.unique()) == min(places, threads)


@pytest.mark.parametrize("threads", [1, 2, 3], indirect=True)
def test_where_threads_cannot_be_had_loops_run_in_one(threads, monkeypatch):
    monkeypatch.setattr(loops, "openmp", lambda: None)
    assert loops.ready(16) == (threads == 1)


def test_a_torch_without_openmp_has_no_threads_to_share(monkeypatch, tmp_path):
    monkeypatch.setattr(torch, "__file__", str(tmp_path / "__init__.py"))
    assert loops.openmp.__wrapped__() is None
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libtorch_cpu.so").write_bytes(b"no library")
    assert loops.openmp.__wrapped__() is None


def test_without_numba_no_loop_is_ready(monkeypatch):
    monkeypatch.setattr(loops, "INSTALLED", False)
    assert not loops.ready(16)


def test_few_faces_are_not_worth_compiling():
    assert not loops.ready(1)
