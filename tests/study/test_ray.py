"""Studies on a real Ray cluster of two workers on this machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from leam.errors import InputError, StudyError
from leam.faces.people import read_people
from leam.files import sha256_of
from leam.recognizers.card import Card
from leam.recognizers.recognizer import Recognizer
from leam.study.engine import ENGINES, Done, EngineOptions
from leam.study.engines.ray import RayEngine, Setup, start_worker
from leam.study.plan import Plan, Settings
from leam.study.run import plan_study, run_study
from leam.study.schedule import Job
from leam.study.store import RunFolder
from mortal import Mortal

ray = pytest.importorskip("ray")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("ray"),
    pytest.mark.skipif(os.name != "posix", reason="workers are killed by a signal"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        # Workers unpack the recognizer of these tests, with the package that is tested here.
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def slices(views, tmp_path_factory) -> Plan:
    """A plan of six people with two views each, in fact two people under six names; a person a slice."""
    folder = tmp_path_factory.mktemp("slices")
    pictures = sorted(views.glob("*/view *.png"))
    for i, picture in enumerate(pictures):
        (folder / f"{i // 2}").mkdir(exist_ok=True)
        shutil.copy(picture, folder / f"{i // 2}" / picture.name)
    recognizer = mortal(folder)
    plan = plan_study("views", read_people(folder), [recognizer], Settings(transfer=True, subset=2))
    return plan.model_copy(update={"people_per_slice": 1})


def mortal(folder: Path) -> Recognizer:
    return Recognizer(Mortal(112, folder / "grave"), Card(name="mortal"))


def digests(folder: RunFolder) -> dict[str, str]:
    """Of everything that must come out the same wherever the work was done."""
    kept = [f for kind in ("npz", "parquet", "json") for f in folder.path.rglob(f"*.{kind}")]
    return {
        str(f.relative_to(folder.path)): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in sorted(kept)
    }


def begun(path: Path, plan: Plan) -> RunFolder:
    folder = RunFolder(path)
    with folder.locked():
        folder.start(plan)
    return folder


def setup_of(folder: RunFolder, plan: Plan) -> Setup:
    return Setup(plan, folder.path, sha256_of(folder.path / "run.json"), [])


def test_a_killed_worker_changes_no_byte(cluster, slices, tmp_path):
    assert len(slices.slices) == 6
    local, spread = RunFolder(tmp_path / "local"), RunFolder(tmp_path / "spread")
    run_study(slices, [mortal(tmp_path)], local)
    grave = tmp_path / "grave"
    assert not grave.exists()
    run_study(slices, [mortal(tmp_path)], spread, engine="ray")
    assert grave.exists()
    assert digests(spread) == digests(local)
    assert any(name.endswith(".parquet") for name in digests(spread))
    assert ray.is_initialized(), "a cluster that was there before is left as it was"


def test_a_slice_that_kills_every_worker_is_a_fault(cluster, slices, tmp_path, monkeypatch):
    folder = begun(tmp_path / "run", slices)
    engine = RayEngine(slices, folder, [])
    monkeypatch.setattr(engine, "_work", ray.remote(num_cpus=1, max_retries=0)(_die))
    (done,) = engine.run([Job("explain", "mortal", 0, ("explain",))])
    engine.close()
    assert (
        done.fault
        == "the worker was lost (WorkerCrashedError), perhaps from lack of memory, 4 times"
    )


def _die(_setup, _jobs):
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_stops_a_study_on_a_worker_stops_it_here(cluster, slices, tmp_path):
    folder = begun(tmp_path / "run", slices)
    other = slices.model_copy(update={"versions": {**slices.versions, "leam": "0.0"}})
    engine = RayEngine(other, folder, [])
    with pytest.raises(StudyError, match=r"Ray worker on .* has leam .*, but the study uses 0.0"):
        list(engine.run([Job("detect", "", 0)]))
    engine.close()


def test_a_worker_must_see_the_same_folder(slices, tmp_path):
    setup = setup_of(begun(tmp_path / "run", slices), slices)
    (tmp_path / "run" / "run.json").write_text("another study")
    with pytest.raises(StudyError, match="does not see this study; choose an --out on storage"):
        start_worker(setup)
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(StudyError, match="does not see this study"):
        start_worker(setup)


def test_a_worker_must_have_the_same_versions(slices, tmp_path):
    older = slices.model_copy(update={"versions": {**slices.versions, "numpy": "1.0"}})
    setup = setup_of(begun(tmp_path / "run", older), older)
    with pytest.raises(StudyError, match=r"has numpy \d.*, but the study uses 1.0"):
        start_worker(setup)


def test_ray_is_an_extra(slices, tmp_path, monkeypatch):
    folder = begun(tmp_path / "run", slices)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"needs ray; `pip install leam-xai\[ray\]`"):
        RayEngine(slices, folder, [])


@pytest.mark.parametrize(
    ("address", "why"), [("nowhere", "expected HOST:PORT"), ("127.0.0.1:{port}", "refused")]
)
def test_an_address_where_no_cluster_answers(slices, tmp_path, monkeypatch, address, why):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    folder = begun(tmp_path / "run", slices)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = address.format(port=closed.getsockname()[1])
        with pytest.raises(InputError, match=f"--address {address}: no Ray cluster .*{why}"):
            RayEngine(slices, folder, [], address=address)


def test_options_of_the_other_engine_are_refused(slices, tmp_path):
    folder = begun(tmp_path / "run", slices)
    with pytest.raises(InputError, match="--address: only available with --engine ray"):
        ENGINES["local"](slices, folder, [], EngineOptions(address="head:6379"))
    with pytest.raises(InputError, match="--workers: only available with --engine local"):
        ENGINES["ray"](slices, folder, [], EngineOptions(workers=2))


def test_the_gpu_is_assigned_by_ray(slices, tmp_path):
    folder = begun(tmp_path / "run", slices)
    with pytest.raises(
        InputError, match="--device cuda:1: Ray assigns the GPUs; use --device cuda"
    ):
        ENGINES["ray"](slices, folder, [], EngineOptions(device="cuda:1"))


def test_a_cluster_without_a_gpu_is_said_so(cluster, slices, tmp_path):
    folder = begun(tmp_path / "run", slices)
    with pytest.raises(InputError, match="--device cuda: the Ray cluster has no GPU"):
        ENGINES["ray"](slices, folder, [], EngineOptions(device="cuda"))


def test_a_worker_without_the_device_stops_the_study(slices, tmp_path):
    folder = begun(tmp_path / "run", slices)
    setup = replace(setup_of(folder, slices), device="cuda:7")
    with pytest.raises(StudyError, match=r"the Ray worker on .*: device cuda:7: not available"):
        start_worker(setup)


@pytest.fixture
def gpus(cluster) -> Iterator[None]:
    """A cluster that claims two GPUs, which no task uses; the other tests' cluster is gone for a while."""
    ray.shutdown()
    ray.init(address="local", num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)


def test_each_actor_has_a_gpu_to_itself_and_is_replaced_if_it_dies(
    gpus, slices, tmp_path, monkeypatch
):
    folder = begun(tmp_path / "run", slices)
    engine = RayEngine(slices, folder, [], device="auto")
    actor = ray.remote(num_cpus=1, num_gpus=1, max_restarts=0)(_Assigned)
    monkeypatch.setattr(engine, "_actor", actor)
    jobs = [Job("explain", "mortal", index, (str(tmp_path / "grave"),)) for index in range(6)]
    done = list(engine.run(jobs))
    assert [one.fault for one in done] == [None] * 6
    assert {one.device for one in done} == {"0", "1"}
    assert len(engine._idle) == 2
    engine.close()


class _Assigned:
    """Answers with the GPU that it was given, and dies once."""

    def work(self, _setup, jobs):
        grave = Path(jobs[0].stages[0])
        if jobs[0].index == 2 and not grave.exists():
            grave.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return [Done(job, device=str(ray.get_gpu_ids()[0])) for job in jobs]
