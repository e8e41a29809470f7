"""Memory while faces are explained, in a process of its own: one that ran other tests has room to hide a leak in."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# A face's two layer maps and its overall map are 113 KB here, its layers' activations 263 KB.
SCRIPT = """
import json
from pathlib import Path
import torch
from leam.explain import Explainer
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
import resource, sys
import numpy as np
from leam.explain.memory import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = np.empty(64 << 20, dtype=np.uint8)
    block[:] = 1
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(script: str, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_kept_for_the_next_block():
    # Huge pages would make both few.
    kept, given_back = (int(run(FAULTS, how)) for how in ("keep", "give back"))
    assert kept < given_back / 4


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs /proc")
def test_memory_does_not_grow_with_the_faces():
    warm, end, holding = json.loads(run(SCRIPT))
    # 800 faces more may not cost as much as half of their maps; that such a leak would be seen, holding them shows.
    assert end - warm < MAPS / 2
    assert holding - end > MAPS / 2
