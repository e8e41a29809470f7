"""Plans of pictures that are nowhere, for tests that write shards themselves."""

from __future__ import annotations

from leam.recognizers.card import Card
from leam.study.plan import Plan, PlannedImage, PlannedModel, Settings

SIDE = 4


def planned(people: str, people_per_slice: int = 2, **settings: object) -> Plan:
    """A plan of one picture for each letter, which is its person, and a recognizer ``one`` of 4x4 pixels."""
    return Plan(
        versions={},
        source="nowhere",
        settings=Settings(**settings),
        models=(PlannedModel(card=Card(name="one", input_size=(SIDE, SIDE)), sha256="0"),),
        images=tuple(
            PlannedImage(image=f"{p}/{i}", person=p, path=f"nowhere/{p}/{i}", sha256=None)
            for i, p in enumerate(people)
        ),
        people_per_slice=people_per_slice,
    )
