"""The model files among the shared cases: each ends soon, in little memory, with a result or with one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are in other units elsewhere"),
]  # fmt: skip

# Checks a card as the command line does; then prints the exit code, the memory beside the imports, and the time.
CHECK = """
import json, resource, sys, time
import torch
peak = lambda who: resource.getrusage(who).ru_maxrss * 1024
before, start = peak(resource.RUSAGE_SELF), time.process_time()
from leam.cli.app import main
sys.argv = ["leam", "models", "check", sys.argv[1]]
try:
    code = main()
except SystemExit as exit:
    code = exit.code
bytes_ = max(peak(resource.RUSAGE_SELF) - before, peak(resource.RUSAGE_CHILDREN))
print(json.dumps([code or 0, bytes_, time.process_time() - start]))
"""
SOUND = "loads and embeds"
CASES = {
    "chain10k": SOUND,
    "same3k": SOUND,
    "dropout_mask": SOUND,
    "concat_double": "node cc11, operator Concat: the values of two faces and the weights take",
    "ext_fifo": "external data 'fifo' cannot be read",
    "fuzz_onnx_tb_1168": "the graph mixes the faces of a batch; export it with a free batch size",
    "share300": "share300.pth: contains no state dict",
}


@pytest.mark.parametrize(("name", "expected"), CASES.items(), ids=CASES)
def test_a_hostile_model_ends_soon(assets, tmp_path, name, expected):
    for path in (assets / "cases" / "files").glob(f"{name}.*"):
        shutil.copyfile(path, tmp_path / path.name)
    if name == "ext_fifo":
        os.mkfifo(tmp_path / "fifo")
    environment = {k: v for k, v in os.environ.items() if k != "LEAM_MEMORY_LIMIT"}
    ran = subprocess.run(
        [sys.executable, "-c", CHECK, tmp_path / f"{name}.toml"],
        capture_output=True, text=True, check=True, timeout=120, env=environment, cwd=tmp_path,
    )  # fmt: skip
    code, size, seconds = json.loads(ran.stdout.splitlines()[-1])
    said = " ".join((ran.stdout if expected == SOUND else ran.stderr).split())
    assert expected in said
    assert "Traceback" not in ran.stderr + ran.stdout
    assert (code == 0) == (expected == SOUND)
    assert size < 500e6
    # Of a processor and caches that others may share: 10,000 nodes take 8 s alone, and took 25 s beside others.
    assert seconds < 60
