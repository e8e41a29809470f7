"""Memory while faces are explained, in a process of its own: one that ran other tests has room to hide a leak in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# A face's two layer maps and its overall map are 113 KB here, its layers' activations 263 KB.
SCRIPT = """
import json
from pathlib import Path
import torch
from leam.mapping import Explainer
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


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs /proc")
def test_memory_does_not_grow_with_the_faces():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SCRIPT]
    found = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    warm, end, holding = json.loads(found.stdout)
    # 800 faces more may not cost as much as half of their maps; that such a leak would be seen, holding them shows.
    assert end - warm < MAPS / 2
    assert holding - end > MAPS / 2
