"""SegFormer face parsers (Xie et al., NeurIPS 2021); needs the extra ``segformer``.

The public model ``jonathandinu/face-parsing`` was trained on CelebAMask-HQ, a data set for non-commercial research. No
checksum of it is known here: the first use keeps its commit and the checksums of its files, and later uses check them.
"""

from __future__ import annotations

import json
import logging
import os
import re
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from leam.errors import ModelError, WeightsError, first_line
from leam.files import sha256_of
from leam.parsers import PARSERS
from leam.parsers.builtin.bisenet import normalised
from leam.parsers.network import HeadParser
from leam.parsers.regions import translate
from leam.weights.fetching import cache_folder
from leam.weights.hub import HubFile, commit_of, hub_cached, hub_fetch

VARIABLE = "LEAM_SEGFORMER"
"""Environment variable that names a folder with ``config.json`` and ``model.safetensors``, or a model on the Hugging
Face hub, ``owner/name`` or ``owner/name@COMMIT``."""

_LOGGER = logging.getLogger(__name__)
_PUBLIC = "jonathandinu/face-parsing"
_FILES = ("config.json", "model.safetensors")
_ON_HUB = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<commit>[0-9a-f]{40}))?")
_SIDE = 512


@PARSERS("segformer")
def segformer() -> HeadParser:
    """The classes in the model's own ``id2label``.

    Raises:
        ModelError: ``transformers`` is not installed, or a class has an unknown name.
        WeightsError: The model is not on this machine and cannot be downloaded, or has changed since its first use.
    """
    return read_segformer(os.environ.get(VARIABLE) or _PUBLIC)


def read_segformer(source: str) -> HeadParser:
    """The parser from a folder or from a model on the hub; errors as for :func:`segformer`."""
    try:
        from transformers import SegformerForSemanticSegmentation  # noqa: PLC0415  an extra
    except ImportError:
        raise ModelError(
            "segformer: needs transformers; `pip install leam-xai[segformer]`"
        ) from None
    try:
        folder = Path(source) if Path(source).is_dir() else _from_hub(source)
        model: Any = SegformerForSemanticSegmentation.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )
        sha256 = sha256_of(folder / _FILES[1])
    except Exception as error:  # noqa: BLE001  the errors of transformers have no common base
        raise WeightsError(
            f"segformer: {source} cannot be loaded; set {VARIABLE} to a folder with it ({first_line(error)})"
        ) from None
    names = model.config.id2label
    labels = translate([names[index] for index in range(len(names))])
    return HeadParser("segformer", labels, _SIDE, _Network(model.eval()), sha256=sha256)


def _from_hub(source: str) -> Path:
    """The folder of a model in the hub's cache, downloaded if need be, with the files of its first use."""
    found = _ON_HUB.fullmatch(source)
    if not found:
        raise WeightsError("no such folder")
    record = cache_folder() / "segformer" / "first_use.json"
    known = _read_record(record)
    kept = known.get(source, {})
    commit = found["commit"] or kept.get("commit")
    paths = []
    for name in _FILES:
        file = HubFile(found["repo"], name, commit)
        paths.append((hub_cached(file) if commit else None) or hub_fetch(file))
        # All files are of the commit of the first one.
        commit = commit or commit_of(paths[0])
    seen = {"commit": commit, **{path.name: sha256_of(path) for path in paths}}
    if not kept:
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({**known, source: seen}, indent=1) + "\n", encoding="utf-8")
        _LOGGER.warning(
            "segformer: no checksum of %s is known; %s of commit %s has sha256 %s, kept in %s and checked from now on",
            *(source, _FILES[1], commit, seen[_FILES[1]], record),
        )
    elif seen != kept:
        changed = next(name for name in seen if seen[name] != kept.get(name))
        raise WeightsError(
            f"{changed} is not that of the first use; remove {record} if you trust the new one"
        )
    return paths[0].parent


def _read_record(record: Path) -> dict[str, dict[str, str]]:
    try:
        found = json.loads(record.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        found = None
    if not (isinstance(found, dict) and all(isinstance(one, dict) for one in found.values())):
        raise WeightsError(f"{record} is damaged; remove it if you trust the model")
    return found


class _Network(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> Tensor:
        """Class scores ``(n, classes, h / 4, w / 4)`` of RGB pictures ``(n, 3, h, w)``, 0-255."""
        scores: Tensor = self.model(normalised(pictures)).logits
        return scores
