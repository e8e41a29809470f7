"""A Ray cluster that a study starts itself is for this machine only."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("ray")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("ray"),
    pytest.mark.skipif(not Path("/proc/net/tcp").is_file(), reason="needs /proc"),
]
# Prints the addresses at which the processes of this Ray session listen, and whether Ray would report its usage. The
# processes of another test's cluster may still be ending.
START = """
import os, re
from pathlib import Path
from leam.study.engines.ray import _connect, _load_ray
ray = _load_ray()
_connect(ray, None)
session = ray._private.worker._global_node.session_name
listening = {}
for table in ("tcp", "tcp6"):
    for line in Path("/proc/net", table).read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A":
            listening[fields[9]] = fields[1].rpartition(":")[0]
found = set()
for entry in Path("/proc").glob("[0-9]*"):
    try:
        if int(entry.name) != os.getpid() and session not in (entry / "cmdline").read_text():
            continue
        for link in (entry / "fd").iterdir():
            number = re.match(r"socket:.(\\d+)", os.readlink(link))
            if number and number[1] in listening:
                found.add(listening[number[1]])
    except OSError:
        continue
print("listens", *sorted(found))
from ray._common.usage.usage_lib import usage_stats_enabled
print("reports", usage_stats_enabled())
ray.shutdown()
"""


def wait_for_other_clusters() -> None:
    """Another test's cluster, which may still be ending, would be joined instead of starting one."""
    end = time.monotonic() + 60
    while time.monotonic() < end and any(
        one.info["name"] == "gcs_server" for one in psutil.process_iter(["name"])
    ):
        time.sleep(0.5)


def test_it_binds_to_the_loopback_interface_and_reports_nothing(tmp_path):
    wait_for_other_clusters()
    without = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    result = subprocess.run(
        [sys.executable, "-c", START],
        capture_output=True, text=True, timeout=200, check=False, env=without, cwd=tmp_path,
    )  # fmt: skip
    listens, reports = result.stdout.splitlines()[-2:]
    assert set(listens.split()[1:]) <= {"0100007F", "0000000000000000FFFF00000100007F"}
    assert len(listens.split()) > 1
    assert reports == "reports False"
