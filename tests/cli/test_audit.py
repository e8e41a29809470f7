"""``leam audit``, from pictures to the document."""

from __future__ import annotations

import json

import pytest

from leam.study.audit import AuditDocument


def test_mistakes_of_audit(leam, complaint, tmp_path, faces):
    run = ("audit", faces, "--out", tmp_path / "run")
    assert "--faces" in complaint(leam(*run, "--pairs", "pairs.txt", "--faces", faces))
    assert "fmr" in complaint(leam(*run, "--fmr", 2))
    assert "gender" in complaint(leam(*run, "--group", "gender"))


@pytest.mark.slow
def test_an_audit_and_its_pairs(leam, tmp_path, faces):
    run = tmp_path / "run"
    result = leam("audit", faces, "--out", run)
    assert result.returncode == 0, result.stderr
    document = AuditDocument.model_validate_json((run / "audit.json").read_text())
    found = document.recognizers["dlib_resnet"]
    assert (found.rates.people, found.rates.genuine, found.rates.impostors) == (2, 2, 4)
    assert found.rates.operating.threshold == -0.6
    assert found.rates.threshold_source == "the recognizer's card"
    assert found.reasons is not None
    assert "nose" in found.reasons.regions
    assert result.stdout.splitlines()[:-1] == document.findings
    assert result.stdout.splitlines()[-1] == f"audit: {run / 'audit.html'}"
    assert "support no false match rate" in result.stderr
    page = (run / "audit.html").read_text()
    assert "What was found" in page
    assert "Compared with the paper" not in page
    leam("report", run, "--no-faces")
    assert "Grace Hopper" not in (run / "audit.html").read_text() + (run / "audit.json").read_text()


@pytest.mark.slow
def test_an_audit_of_listed_pairs(leam, tmp_path, faces):
    pictures = sorted(str(path.relative_to(faces)) for path in faces.glob("*/*"))
    table = tmp_path / "pairs.csv"
    rows = [f"{pictures[0]},{pictures[1]},1", f"{pictures[0]},{pictures[2]},0"]
    table.write_text("\n".join(["left,right,same", *rows]) + "\n")
    result = leam(
        "audit", faces, "--pairs", table, "--out", tmp_path / "run", "--threshold", 1, "--json"
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)["document"]["recognizers"]["dlib_resnet"]["rates"]
    assert (found["genuine"], found["impostors"]) == (1, 1)
    assert found["operating"]["fnmr"]["mean"] == 1
