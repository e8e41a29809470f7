"""The content of ``protect.json``."""

from __future__ import annotations

from typing import Final, Literal

from leam.explain.explanation import Record
from leam.metrics.statistics import Estimate
from leam.recognizers.card import Similarity

Whose = Literal["own", "everybody's", "less than others", "inconclusive"]
"""Whether a region links this person more than others."""

SCHEMA_VERSION: Final = 1
"""The version of ``protect.json``; raised when a field changes its name or meaning."""

LIMITS = (
    "A recognizer that was not tested may still link these pictures, and nobody can know which ones are in use.",
    "The results of some recognizers forecast those of another with an error of 10 to 40 points (docs/protect.md).",
    "Recognizers are retrained, also on changed pictures: the next version may link what today's does not.",
    "Names, places, clothes, companions and a picture's metadata link pictures without any face.",
    "The figures are of these pictures. Others, in another light or at another angle, may be linked more often.",
    "Do not rely on these figures where being recognised would endanger someone: they give a false sense of safety.",
)
"""What the measurement cannot promise, one paragraph each."""


class LinkRecord(Record):
    """Pairs of the person's pictures that a recognizer links."""

    linked: int
    """Number of linked pairs: their similarity reaches the threshold."""
    pairs: int
    """Number of pairs."""
    part: Estimate
    """``linked / pairs``, with its interval over pictures for ten or more pictures; ``n`` counts pictures."""
    similarity: float | None
    """Mean similarity of the pairs; null without any."""


class RecognizerLinks(Record):
    """What one recognizer links after a change."""

    with_unchanged: LinkRecord
    """Pairs of a changed picture and another, unchanged picture; for ``none``, of two unchanged pictures."""
    among_changed: LinkRecord
    """Pairs of two changed pictures."""
    expected: float | None
    """The part of such pairs of the person's *other* pictures as in ``with_unchanged`` that is expected to be linked;
    null if nothing can be expected of so few. See :func:`leam.protect.linking.expected_part`."""


class ChangeRecord(Record):
    """One change of the pictures."""

    description: str
    """What it does."""
    pictures: int
    """Number of changed pictures."""
    found: int
    """Number of changed pictures in which the detector finds the face, with reliable landmarks. The others are aligned
    with the landmarks of the original, the strongest case for whoever links them."""
    pixels: float | None
    """Mean part of the pixels in the face's box that changed; null if no changed file has the shape of its original."""
    recognizers: dict[str, RecognizerLinks]
    """By recognizer."""
    strongest: str
    """The recognizer that links the most pairs of a changed and an unchanged picture."""
    gain: float | None
    """How much smaller the linked part is than for ``none``, in [-1, 1], each for its strongest recognizer."""
    gain_per_pixel: float | None
    """``gain / pixels``."""


class ThresholdRecord(Record):
    """The operating point of a recognizer."""

    value: float
    """Pairs at or above this similarity are linked."""
    source: Literal["card", "option", "population"]
    """Where it comes from: the recognizer's card, ``--threshold``, or ``--fmr`` on the population."""
    fmr: Estimate | None
    """The false match rate on the population, with its interval over people; null without a population."""
    pairs: int
    """Number of pairs of different people behind the false match rate."""


class RegionRecord(Record):
    """How much a region links the person's pictures."""

    area: float
    """The part of the aligned face that the region covers, in [0, 1], mean over pictures: a large region usually links
    more."""
    drop: Estimate
    """Mean drop of the similarity with the person's other pictures when the region is hidden in one; interval over
    pictures for ten or more."""
    others: Estimate | None
    """The mean over the people of the population, with its interval over people; null without one."""
    low: float | None
    """Lower end of the range in which 95 % of other people lie, for all regions together; null without a population of
    ten or more people."""
    high: float | None
    """Upper end of this range."""
    whose: Whose | None
    """``own`` above the range, ``less than others`` below it, ``everybody's`` within it if the population's drop is
    above zero; otherwise ``inconclusive``. Null without a population."""


class TestedRecognizer(Record):
    """A recognizer that was tested."""

    sha256: str
    """SHA-256 that identifies it."""
    similarity: Similarity
    """``cosine``, or ``euclidean`` for minus the Euclidean distance."""
    threshold: ThresholdRecord
    """Its operating point."""
    regions: dict[str, RegionRecord]
    """The regions that link the pictures, the strongest first."""


class PictureRecord(Record):
    """One of the person's pictures."""

    image: str
    """The file."""
    sha256: str
    """SHA-256 of its bytes."""
    protected: str | None
    """The changed file of ``--protected``; null without one."""
    protected_sha256: str | None
    """SHA-256 of that file's bytes."""


class PopulationRecord(Record):
    """Other people, who set thresholds and are compared with the person's regions."""

    people: int
    """Number of people."""
    pictures: list[str]
    """SHA-256 of their pictures, sorted."""


class ProtectRecord(Record):
    """The content of ``protect.json``."""

    schema_version: Literal[1] = SCHEMA_VERSION
    """Version of this format."""
    versions: dict[str, str]
    """Versions of LEAM, Python and the packages that figures depend on."""
    seed: int
    """Random seed."""
    detector: str
    """The face detector."""
    parser: str
    """The face parser."""
    pictures: list[PictureRecord]
    """The person's pictures."""
    population: PopulationRecord | None
    """Other people; null if none were given."""
    recognizers: dict[str, TestedRecognizer]
    """By name."""
    untested: dict[str, str]
    """Recognizers that were asked for but not tested, with the reason."""
    changes: dict[str, ChangeRecord]
    """By name: ``none``, the standard protections, and ``protected`` for the files of ``--protected``."""
    best: str | None
    """The change after which the strongest recognizer links the fewest pairs; null if none helps."""
    best_per_pixel: str | None
    """The change with the largest gain per changed pixel; null if none helps."""
    limits: tuple[str, ...] = LIMITS
    """What these figures cannot promise."""
