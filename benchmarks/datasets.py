"""Time and memory of planning large data sets: a folder of people, and a draw from a training set in RecordIO.

The folder is also planned by ``leam study``, up to the end of ``run.json``, with imports and the default recognizer.

    python benchmarks/datasets.py FOLDER --people 100000 --out benchmarks/datasets.json

Each is measured in a process of its own. The data are made in the folder unless they are there. The pictures are small;
the file of records is sparse, has the size and the index of MS1MV2 (85,742 people, 5.8 million pictures), and its keys
share a thousand records.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import resource
import struct
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from leam.faces.people import read_dataset
from leam.recognizers.card import Card
from leam.recognizers.recognizer import Recognizer
from leam.study.run import plan_study

PEOPLE, PICTURES = 85_742, 5_822_653
RECORDS = 1000
MEBIBYTE = 1 << 20


def jpeg() -> bytes:
    """A picture of 32x32 pixels of noise."""
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, "jpeg", quality=30)
    return stream.getvalue()


def write_folder(folder: Path, people: int) -> None:
    """Two different pictures of each person."""
    data = jpeg()
    for person in range(people):
        place = folder / f"p{person:06d}"
        place.mkdir(parents=True)
        for number in range(2):
            (place / f"{number}.jpg").write_bytes(data + struct.pack("<II", person, number))


def record(labels: tuple[float, ...], data: bytes) -> bytes:
    """A record; see :mod:`leam.faces.datasets.recordio`."""
    several = len(labels) > 1
    header = struct.pack("<IfQQ", len(labels) if several else 0, 0 if several else labels[0], 0, 0)
    content = header + (struct.pack(f"<{len(labels)}f", *labels) if several else b"") + data
    head = struct.pack("<II", 0xCED7230A, len(content))
    return head + content + bytes(-len(content) % 4)


def write_records(path: Path) -> None:
    """A sparse file of the size of MS1MV2, and its index."""
    bounds = np.linspace(1, PICTURES + 1, PEOPLE + 1).astype(int).tolist()
    data, stride = jpeg(), 55 * MEBIBYTE
    with path.open("wb") as stream:
        stream.write(record((PICTURES + 1, PICTURES + PEOPLE + 1), b""))
        places = [stride * place for place in range(1, RECORDS + 1)]
        for place in places:
            stream.seek(place)
            stream.write(record((0.0,), data))
        start, size = stream.tell(), len(record((1, 2), b""))
        stream.write(b"".join(record(pair, b"") for pair in pairwise(bounds)))
    with path.with_suffix(".idx").open("w") as stream:
        stream.write("0\t0\n")
        stream.writelines(f"{key}\t{places[key % RECORDS]}\n" for key in range(1, PICTURES + 1))
        stream.writelines(f"{PICTURES + 1 + n}\t{start + size * n}\n" for n in range(PEOPLE))


def plan(source: Path, people: int | None) -> None:
    """Plan a study. Prints seconds, those of the processor, and the peak of memory with that of the imports, in MiB."""
    module = torch.nn.Conv2d(3, 4, 3)
    recognizer = Recognizer(module, Card(name="one", input_size=(24, 24)))
    busy = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    dataset = read_dataset(source)
    read = time.perf_counter() - start
    planned = plan_study(str(source), dataset.draw(people, 2, 0), [recognizer])
    found = {
        "pictures": len(planned.images),
        "seconds_read": round(read, 1),
        "seconds": round(time.perf_counter() - start, 1),
        "seconds_of_processor": round(time.process_time() - busy, 1),
        "mebibytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "mebibytes_of_imports": round(before),
    }
    print(json.dumps(found))


def command(source: Path) -> dict[str, Any]:
    """Start ``leam study``, and stop it when it has planned and says what it is going to do. Linux only."""
    with tempfile.TemporaryDirectory() as out:
        call = [sys.executable, "-m", "leam", "study", str(source), "--out", out + "/run"]
        load, start = os.getloadavg()[0], time.perf_counter()
        with subprocess.Popen(call, stderr=subprocess.PIPE, text=True) as study:  # noqa: S603  our own command
            if not any("people:" in line for line in study.stderr or ()):
                raise RuntimeError("leam study ended before it had planned")
            seconds = time.perf_counter() - start
            place = Path("/proc", str(study.pid))
            peak = next(
                int(line.split()[1])
                for line in (place / "status").read_text().splitlines()
                if line.startswith("VmHWM")
            )
            ticks = sum(map(int, (place / "stat").read_text().split()[13:15]))
            study.kill()
    return {
        "seconds": round(seconds, 1),
        "seconds_of_processor": round(ticks / os.sysconf("SC_CLK_TCK"), 1),
        "mebibytes": round(peak / 1024),
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
    }


def measure(source: Path, people: int | None) -> dict[str, Any]:
    """Plan in a process of its own."""
    command = [sys.executable, __file__, str(source), "--plan", "--draw", str(people or 0)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  our own command
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plan", action="store_true", help="measure FOLDER in this process")
    parser.add_argument("--draw", type=int, default=0)
    given = parser.parse_args()
    if given.plan:
        plan(given.folder, given.draw or None)
        return
    faces, records = given.folder / "faces", given.folder / "train.rec"
    if not faces.exists():
        write_folder(faces, given.people)
    if not records.exists():
        write_records(records)
    results = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        f"folder of {given.people} people": measure(faces, None),
        f"leam study with {given.people} people": command(faces),
        "100 people of train.rec": measure(records, 100),
    }
    text = json.dumps(results, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
