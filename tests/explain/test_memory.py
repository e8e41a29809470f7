"""How many faces run at once, and the memory that they need.

Leaks are measured in a new process: one that ran other tests has free memory in which a leak would not show.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from leam.explain import memory as memory_module
from leam.explain.explainer import Explainer
from leam.explain.memory import batch_size, layer_bytes, portion, worker_environment
from leam.explain.targets import contrast_target, reference_target, self_target
from plain import assert_same, plain

pytestmark = pytest.mark.slow

# A face's two layer maps and its overall map are 113 KB here, its layers' activations 263 KB.
SCRIPT = """
import json
from pathlib import Path
import torch
from leam.explain.explainer import Explainer
from tiny import TinyNet, wrap

def resident():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) << 10

torch.manual_seed(0)
torch.set_num_threads(1)
explainer = Explainer(wrap(TinyNet(112), 112))
chips = torch.randint(0, 256, (4, 112, 112, 3), dtype=torch.uint8)
samples, held = [], []
for keep in (False, False, True):
    for _ in range(200):
        maps = explainer.explain(chips)
        if keep:
            held.append(maps)
    samples.append(resident())
print(json.dumps(samples))
"""
MAPS = 800 * 113_000


# Pages that the system clears for a second block as large as one that was freed.
FAULTS = """
import resource
import numpy as np

for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = np.empty(64 << 20, dtype=np.uint8)
    block[:] = 1
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(script: str, **variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for name in worker_environment():
        environment.pop(name, None)
    environment |= variables
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_workers_keep_freed_memory_for_the_next_block():
    assert len(worker_environment()) <= 2
    kept, given_back = int(run(FAULTS, **worker_environment())), int(run(FAULTS))
    assert kept < given_back / 4


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs /proc")
def test_memory_does_not_grow_with_the_faces():
    warm, end, holding = json.loads(run(SCRIPT))
    # 800 faces more may not cost as much as half of their maps; that such a leak would be seen, holding them shows.
    assert end - warm < MAPS / 2
    assert holding - end > MAPS / 2


@pytest.mark.parametrize("backend", ["plain", "fused"])
def test_a_batch_in_portions_is_the_batch_at_once(tiny, chips, backend, monkeypatch):
    explainer = Explainer(tiny, backend=backend)
    templates, impostors = torch.randn(5, 6), torch.randn(5, 3, 6)
    targets = [
        self_target,
        reference_target(templates, "euclidean"),
        contrast_target(templates, impostors, "cosine"),
    ]
    wanted = [plain(explainer, chips, target) for target in targets]
    monkeypatch.setattr(memory_module, "_MOST_BYTES", 2 * layer_bytes(explainer.layers))
    monkeypatch.setattr(memory_module, "_SOME_BYTES", 0)
    assert portion(explainer.layers, 5, torch.device("cpu")) == 3
    assert portion(explainer.layers, 5, torch.device("cuda")) == 5
    assert portion(explainer.layers, 500, torch.device("cuda")) == 64
    for target, plainly in zip(targets, wanted, strict=True):
        assert_same(explainer.explain(chips, target), plainly)
    # A user's own target may look at the whole batch, so it is given the whole batch.
    sizes = []
    explainer.explain(chips, lambda e: sizes.append(len(e)) or e.sum(dim=1))
    assert sizes == [5]


@pytest.mark.parametrize(
    ("some", "most", "least"), [(99, 99, 32), (20, 99, 20), (5, 99, 16), (3, 7, 7)]
)
def test_portions_are_equal_and_fit_the_memory(tiny, monkeypatch, some, most, least):
    layers, cpu = Explainer(tiny).layers, torch.device("cpu")
    monkeypatch.setattr(memory_module, "_SOME_BYTES", some * layer_bytes(layers))
    monkeypatch.setattr(memory_module, "_MOST_BYTES", most * layer_bytes(layers))
    for count in range(1, 300):
        size = portion(layers, count, cpu)
        assert size == count < 2 * least or least <= size < 2 * least
        # Portions are as equal as can be.
        last = (count - 1) % size + 1
        assert size - last < -(-count // size)


def test_there_is_always_a_portion(tiny, monkeypatch):
    layers = Explainer(tiny).layers
    monkeypatch.setattr(memory_module, "_MOST_BYTES", 0)
    monkeypatch.setattr(memory_module, "_SOME_BYTES", 0)
    assert portion(layers, 14, torch.device("cpu")) == 1
    assert portion(layers, 0, torch.device("cpu")) == 1


def test_the_batch_size_grows_with_the_memory(tiny):
    layers = Explainer(tiny).layers
    sizes = [batch_size(tiny, layers, memory=n, most=64) for n in (0, 1 << 17, 1 << 18, 1 << 40)]
    assert sizes[0] == 1
    assert sizes == sorted(sizes)
    assert sizes[-1] == 64
    assert batch_size(tiny, layers) >= 1
