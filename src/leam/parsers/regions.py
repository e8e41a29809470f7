"""The parts of a face: one list of names, shared by every parser, metric and picture.

There are three levels, each a partition of the face: **labels** as parsers draw them (``left_eye``), **regions** with
left and right merged (``eyes``), and eleven coarse **groups** (``mouth`` includes the lips). Left and right are as seen
in the picture; metrics use regions, because parsers that were trained with mirrored images confuse the sides.

The classes of public parsers are translated to these labels by name, since their indices differ between parsers. The
data sets name sides from the person's point of view (their ``l_eye`` lies on the right of the picture), so that each
``l_`` becomes ``right_``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leam.errors import ModelError


@dataclass(frozen=True)
class Label:
    """A part of the face that parsers distinguish.

    Attributes:
        name: The label's name.
        region: The region that it belongs to.
        group: The coarse group that it belongs to.
        colour: RGB, 0-255, the same for all labels of a region.
    """

    name: str
    region: str
    group: str
    colour: tuple[int, int, int]


LABELS: tuple[Label, ...] = (
    Label("background", "background", "background", (70, 72, 78)),
    Label("skin", "skin", "skin", (232, 190, 160)),
    Label("forehead", "forehead", "skin", (245, 214, 182)),
    Label("nose", "nose", "nose", (222, 92, 62)),
    Label("left_eye", "eyes", "eyes", (52, 120, 200)),
    Label("right_eye", "eyes", "eyes", (52, 120, 200)),
    Label("left_brow", "brows", "brows", (110, 76, 160)),
    Label("right_brow", "brows", "brows", (110, 76, 160)),
    Label("upper_lip", "lips", "mouth", (200, 50, 100)),
    Label("lower_lip", "lips", "mouth", (200, 50, 100)),
    Label("mouth", "mouth", "mouth", (130, 20, 50)),
    Label("left_ear", "ears", "ears", (240, 160, 60)),
    Label("right_ear", "ears", "ears", (240, 160, 60)),
    Label("hair", "hair", "hair", (96, 66, 44)),
    Label("neck", "neck", "neck", (190, 150, 130)),
    Label("glasses", "glasses", "accessories", (60, 180, 170)),
    Label("earring", "earring", "accessories", (120, 210, 90)),
    Label("necklace", "necklace", "accessories", (170, 200, 60)),
    Label("hat", "hat", "accessories", (40, 140, 90)),
    Label("clothes", "clothes", "clothes", (110, 130, 150)),
)
"""All labels; the values of a label map are positions in this tuple."""

INDEX: dict[str, int] = {label.name: index for index, label in enumerate(LABELS)}
"""The value of each label in a label map."""

REGIONS: tuple[str, ...] = tuple(dict.fromkeys(label.region for label in LABELS))
"""The regions: left and right merged."""

GROUPS: tuple[str, ...] = tuple(dict.fromkeys(label.group for label in LABELS))
"""The eleven coarse groups."""

REGION_OF: tuple[int, ...] = tuple(REGIONS.index(label.region) for label in LABELS)
"""The position in ``REGIONS`` of each label's region."""

GROUP_OF: tuple[int, ...] = tuple(GROUPS.index(label.group) for label in LABELS)
"""The position in ``GROUPS`` of each label's group."""

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
"""The classes of each family of parsers under their authors' names, in the order of the network's outputs."""

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
    """The label of each class of a parser.

    Args:
        classes: Class names of CelebAMask-HQ, FaRL or LaPa; a suffix ``.png`` is ignored.

    Raises:
        ModelError: A class is unknown.
    """
    names = [name.removesuffix(".png") for name in classes]
    unknown = [name for name in names if name not in _LABEL_OF]
    if unknown:
        raise ModelError(
            f"{unknown[0]}: not a class of a known face parser; available: {', '.join(_LABEL_OF)}"
        )
    return tuple(_LABEL_OF[name] for name in names)


def label_values(labels: Sequence[str]) -> NDArray[np.uint8]:
    """The values of labels in a label map, ``(classes,)``: a table from a network's class to the label's value."""
    return np.array([INDEX[label] for label in labels], dtype=np.uint8)


def regions_of(labels: Collection[str]) -> list[str]:
    """The regions that a parser with these labels distinguishes, in the order of :data:`REGIONS`."""
    named = {label.region for label in LABELS if label.name in labels}
    return [region for region in REGIONS if region in named]
