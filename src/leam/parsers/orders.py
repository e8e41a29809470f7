"""The class lists of the face parsers that people use, translated by name.

Indices mean another part in every parser; names do not. The data sets name sides as the person
has them (their ``l_eye`` lies to the right in the picture), and here left is left in the picture:
each ``l_`` becomes ``right_``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from leam.errors import ModelError
from leam.parsers.regions import INDEX

ORDERS: dict[str, tuple[str, ...]] = {
    family: tuple(names.split())
    for family, names in {
        "bisenet": "background skin l_brow r_brow l_eye r_eye glasses l_ear r_ear earring nose"
        " mouth u_lip l_lip neck necklace cloth hair hat",
        "celebamask": "background skin nose glasses l_eye r_eye l_brow r_brow l_ear r_ear mouth"
        " u_lip l_lip hair hat earring necklace neck cloth",
        "farl_celebm": "background neck face cloth rr lr rb lb re le nose imouth llip ulip hair"
        " eyeg hat earr neck_l",
        "farl_lapa": "background face rb lb re le nose ulip imouth llip hair",
        "unet_simonenkel": "background u_lip l_brow skin r_ear r_eye nose necklace l_ear glasses"
        " l_lip r_brow hat hair mouth neck cloth l_eye earring",
    }.items()
}
"""The classes of each family of parsers, as its authors name them, in the order of its outputs."""

_LABEL_OF = {
    "background": "background",
    "skin": "skin",
    "face": "skin",
    "nose": "nose",
    "eye_g": "glasses",
    "eyeg": "glasses",
    "glasses": "glasses",
    "l_eye": "right_eye",
    "le": "right_eye",
    "r_eye": "left_eye",
    "re": "left_eye",
    "l_brow": "right_brow",
    "lb": "right_brow",
    "r_brow": "left_brow",
    "rb": "left_brow",
    "l_ear": "right_ear",
    "lr": "right_ear",
    "r_ear": "left_ear",
    "rr": "left_ear",
    "mouth": "mouth",
    "imouth": "mouth",
    "u_lip": "upper_lip",
    "ulip": "upper_lip",
    "l_lip": "lower_lip",
    "llip": "lower_lip",
    "hair": "hair",
    "hat": "hat",
    "earring": "earring",
    "ear_r": "earring",
    "earr": "earring",
    "necklace": "necklace",
    "neck_l": "necklace",
    "neck": "neck",
    "cloth": "clothes",
}


def translate(classes: Sequence[str]) -> tuple[str, ...]:
    """The label that each class of a parser stands for.

    Args:
        classes: Class names as CelebAMask-HQ, FaRL or LaPa write them; a file extension is ignored.

    Raises:
        ModelError: A name is none of theirs.
    """
    names = [name.removesuffix(".png") for name in classes]
    unknown = [name for name in names if name not in _LABEL_OF]
    if unknown:
        known = ", ".join(_LABEL_OF)
        raise ModelError(f"{unknown[0]}: not a class of a known face parser; known are {known}")
    return tuple(_LABEL_OF[name] for name in names)


def label_values(labels: Sequence[str]) -> NDArray[np.uint8]:
    """A table from class to label: the value in a label map of each label, ``(classes,)``."""
    return np.array([INDEX[label] for label in labels], dtype=np.uint8)
