"""The faults that ``scripts/mutate.py`` plants still have a place in the source."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def mutate() -> ModuleType:
    spec = spec_from_file_location("mutate", ROOT / "scripts" / "mutate.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "mutate", module)
        spec.loader.exec_module(module)
    return module


def test_every_fault_has_one_place_and_its_tests(mutate):
    assert len(mutate.FAULTS) >= 20
    assert len({fault.name for fault in mutate.FAULTS}) == len(mutate.FAULTS)
    for fault in mutate.FAULTS:
        source = (ROOT / "src" / "leam" / fault.file).read_text(encoding="utf-8")
        assert source.count(fault.old) == 1, fault.name
        assert fault.new != fault.old
        assert all((ROOT / "tests" / test).is_file() for test in fault.tests)


def test_the_faults_are_listed(mutate, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mutate.py", "--list", "transfer"])
    assert mutate.main() == 0
    names = [line.partition("  (")[0] for line in capsys.readouterr().out.splitlines()]
    assert names == [fault.name for fault in mutate.FAULTS if "transfer" in fault.name]
