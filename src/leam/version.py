"""The version of this package and of the packages that its figures depend on."""

from __future__ import annotations

__version__ = "0.2.0"

# Everything between a picture file and a map: decoding, alignment, the network, and arithmetic.
_PACKAGES = ("torch", "numpy", "dlib-bin", "opencv-python-headless", "pillow")


def installed_versions() -> dict[str, str]:
    """Versions of LEAM, Python and the packages that figures depend on, by name."""
    import platform  # noqa: PLC0415

    packages = {name: _version(name) for name in _PACKAGES}
    return {"leam": __version__, "python": platform.python_version(), **packages}


def _version(package: str) -> str:
    # Every import of the package imports this module.
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
