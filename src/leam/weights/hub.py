"""Files of the Hugging Face Hub, through its own package and cache: ``hf://owner/name/folder/file@revision``."""

from __future__ import annotations

import http.client
import importlib
import logging
import os
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from leam.errors import WeightsError, first_line
from leam.weights.addresses import shown
from leam.weights.fetching import OFFLINE_VARIABLE, offline, pass_offline_on

_LOGGER = logging.getLogger(__name__)
_SCHEME = "hf://"
_ADDRESS = re.compile(
    r"hf://(?P<repo>[\w.-]+/[\w.-]+)/(?P<name>[^@?#\\]+[^@?#\\/])(?:@(?P<revision>[\w./-]+))?"
)
_ENDPOINT = "https://huggingface.co"
# The hub's client tries again and again for minutes where no network is.
_CONNECT_SECONDS = 5.0
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubFile:
    """A file in a repository of the hub.

    Attributes:
        repo: Owner and name of the repository.
        name: The file's path in the repository.
        revision: A commit, tag or branch; None for the newest commit.
    """

    repo: str
    name: str
    revision: str | None = None

    @property
    def is_pinned(self) -> bool:
        """Whether the address names a commit, so that the file cannot change."""
        return bool(self.revision and _COMMIT.fullmatch(self.revision))


def hub_file(url: str) -> HubFile | None:
    """The file that an ``hf://`` address names; None for other addresses.

    Raises:
        WeightsError: The address is incomplete.
    """
    if not url.startswith(_SCHEME):
        return None
    found = _ADDRESS.fullmatch(url)
    if not found or ".." in found["name"].split("/"):
        raise WeightsError(f"{shown(url)}: expected hf://owner/name/file@revision")
    return HubFile(found["repo"], found["name"], found["revision"])


def hub_cached(file: HubFile) -> Path | None:
    """The file in the hub's cache on this machine; None if it is not there or the hub's package is not installed."""
    hub = _package()
    found = hub and hub.try_to_load_from_cache(file.repo, file.name, revision=file.revision)
    return Path(found) if isinstance(found, str) else None


def hub_fetch(file: HubFile, size: int | None = None) -> Path:
    """The file in the hub's cache, downloaded if need be.

    The cache's folder, a mirror (``HF_ENDPOINT``), credentials and offline mode (``HF_HUB_OFFLINE``) are the hub's own
    settings. If the address names no commit, a log message says which one was taken.

    Args:
        file: The file.
        size: Its size in bytes, if it is known; another file is not downloaded.

    Raises:
        WeightsError: The hub's package is not installed, the file cannot be downloaded or has another size, or
            ``LEAM_OFFLINE`` forbids it.
    """
    url = f"{_SCHEME}{file.repo}/{file.name}"
    if offline():
        raise WeightsError(
            f"{url}: {OFFLINE_VARIABLE} forbids downloads; "
            "download it by other means and name it as `file` in the card"
        )
    hub = _package()
    if hub is None:
        raise WeightsError(
            f"{url}: needs huggingface_hub; `pip install leam-xai[hf]`, "
            "or download the file and name it as `file` in the card"
        )
    try:
        _check_connection()
        if size is not None:
            _check_size(hub, file, size)
        path = Path(hub.hf_hub_download(file.repo, file.name, revision=file.revision))
    except WeightsError as error:
        raise WeightsError(f"{url}: {error}") from None
    except Exception as error:  # noqa: BLE001  the hub's errors have no common base
        raise WeightsError(
            f"{url}: cannot be downloaded ({first_line(error)}); "
            "download it by other means and name it as `file` in the card"
        ) from None
    if not file.is_pinned and (commit := commit_of(path)):
        _LOGGER.warning(
            "%s: takes commit %s; to keep it, write @%s in the url", url, commit, commit
        )
    return path


def commit_of(path: Path) -> str | None:
    """The commit that a file in the hub's cache belongs to; None for a path outside the cache."""
    parts = path.parts
    if "snapshots" not in parts:
        return None
    commit = parts[parts.index("snapshots") + 1]
    return commit if _COMMIT.fullmatch(commit) else None


def _check_connection() -> None:
    """Fail soon where no network is, or where it does not answer; a proxy is left to the hub's client.

    Raises:
        OSError: The hub does not answer.
    """
    constants = importlib.import_module("huggingface_hub.constants")
    if getattr(constants, "HF_HUB_OFFLINE", False) or getproxies():
        return
    place = urlsplit(os.environ.get("HF_ENDPOINT") or _ENDPOINT)
    kind = http.client.HTTPConnection if place.scheme == "http" else http.client.HTTPSConnection
    connection = kind(place.hostname or "", place.port, timeout=_CONNECT_SECONDS)
    try:
        connection.request("HEAD", "/")
        connection.getresponse()
    except ssl.SSLError:
        # It answers; the hub's client may know other certificates.
        return
    finally:
        connection.close()


def _check_size(hub: Any, file: HubFile, size: int) -> None:  # noqa: ANN401  see _package
    address = hub.hf_hub_url(file.repo, file.name, revision=file.revision)
    found = hub.get_hf_file_metadata(address, timeout=_CONNECT_SECONDS).size
    if found is not None and found != size:
        raise WeightsError(f"has {found} bytes, not {size} as its card says")


def _package() -> Any:  # noqa: ANN401  an untyped, optional module
    pass_offline_on()
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError:
        return None
