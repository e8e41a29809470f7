"""Mistakes in options and pictures are found before anything is loaded."""

from __future__ import annotations

import pytest

from leam.cli import explain as command
from leam.cli.inputs import check_names, check_paths
from leam.errors import InputError
from leam.study.plan import Settings


def test_pictures_that_do_not_exist_are_named(tmp_path):
    there, missing, other = (tmp_path / name for name in ("a.jpg", "b.jpg", "c.jpg"))
    there.touch()
    check_paths([there], None, tmp_path)
    # One of several is reported later, and the others are explained.
    check_paths([missing, there])
    with pytest.raises(InputError, match=r"b\.jpg: no such file or folder"):
        check_paths([missing, other])
    with pytest.raises(InputError, match=r"c\.jpg: no such file or folder"):
        check_paths([there], other, None)
    with pytest.raises(InputError, match=r"b\.jpg: no such file or folder"):
        check_paths([there], tmp_path, missing)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("method", "gradcam", r"gradcam: no such attribution method; did you mean grad-cam\?"),
        ("weighting", "signd", r"signd: no such weighting; did you mean signed\?"),
        ("aggregate", "smoth", r"smoth: no such aggregate; did you mean smooth\?"),
    ],
)
def test_names_that_do_not_exist_are_refused(field, value, message):
    check_names(Settings())
    with pytest.raises(InputError, match=message):
        check_names(Settings(**{field: value}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "none.jpg: no such file or folder"),
        (("--with", "none.jpg"), "none.jpg: no such file or folder"),
        (("--weighting", "best"), "best: no such weighting"),
    ],
)
def test_mistakes_end_before_a_model_is_loaded(
    leam, complaint, tmp_path, monkeypatch, portrait, options, message
):
    monkeypatch.setattr(command, "load_models", lambda *_, **__: pytest.fail("a model was loaded"))
    monkeypatch.chdir(tmp_path)
    picture = portrait if options else "none.jpg"
    result = leam("explain", picture, *options, "--out", tmp_path / "out")
    assert message in complaint(result)
