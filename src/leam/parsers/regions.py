"""The parts of a face: one list of names, shared by every parser, measure and picture.

Three levels, each a partition of the face: **labels** as parsers draw them (``left_eye``),
**regions** with left and right merged (``eyes``), and eleven coarse **groups** (``mouth`` holds
lips and inner mouth). Left and right are as seen in the picture, and are merged by default because
parsers trained with mirrored images confuse them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Label:
    """A part of the face as a parser draws it.

    Attributes:
        name: As in a parser's class list, after translation by name.
        region: The part with left and right merged.
        group: The coarse part.
        colour: RGB, 0-255, the same for a whole region.
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
"""Every label; a label map's values are positions in this tuple."""

INDEX: dict[str, int] = {label.name: index for index, label in enumerate(LABELS)}
"""The value a label has in a label map."""

REGIONS: tuple[str, ...] = tuple(dict.fromkeys(label.region for label in LABELS))
"""The regions, left and right merged."""

GROUPS: tuple[str, ...] = tuple(dict.fromkeys(label.group for label in LABELS))
"""The eleven coarse groups."""

REGION_OF: tuple[int, ...] = tuple(REGIONS.index(label.region) for label in LABELS)
"""For each label, the position of its region in ``REGIONS``."""

GROUP_OF: tuple[int, ...] = tuple(GROUPS.index(label.group) for label in LABELS)
"""For each label, the position of its group in ``GROUPS``."""
