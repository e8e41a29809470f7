"""Versions that outputs record."""

from importlib.metadata import PackageNotFoundError

import torch

import leam
from leam.version import installed_versions


def test_the_versions_are_those_that_are_installed():
    versions = installed_versions()
    assert versions["leam"] == leam.__version__
    assert versions["torch"] == torch.__version__
    assert {"python", "numpy", "dlib-bin", "opencv-python-headless", "pillow"} < set(versions)
    assert "numba" not in versions


def test_a_package_that_is_replaced_by_another_is_said_to_be_missing(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    assert installed_versions()["dlib-bin"] == "not installed"
