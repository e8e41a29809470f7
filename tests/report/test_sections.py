"""What a reader of the page sees: every section's text and tables, cell by cell."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from hashlib import sha256
from types import SimpleNamespace

from handmade import NAMES, groups, text
from leam.metrics.statistics import Estimate, verdict
from leam.report.page import render_page
from leam.report.parts import Text
from leam.report.sections.facts import Size
from leam.report.sections.sanity import Sanity, randomisation_chart
from leam.report.sections.support import Support
from leam.study.stages.groups import GroupFigures, judged_gap, left_out_note
from leam.study.stages.sanity import SanityFigures

ALPHA, BETA, GAMMA = 0.1, 0.133, 0.166
BASES = dict(zip(NAMES, (ALPHA, BETA, GAMMA), strict=True))


def percent(mean: float) -> str:
    return text(mean, 1, 100)


def test_the_sections_stand_in_their_order(boxes):
    assert list(boxes) == [
        "findings", "facts", "support", "claims", "regions",
        "second_parser", "specificity", "occlusion", "effect", "person_maps",
        "curves", "verification",
        "sanity", "swap", "stability", "agreement", "transfer", "groups", "groups-2", "layers", "failures",
        "exclusions", "provenance",
    ]  # fmt: skip


def test_facts(boxes):
    assert boxes["facts"].texts == [
        "13", "people", "26", "faces", "3", "recognizers", "2", "excluded pictures",
    ]  # fmt: skip


def test_few_people_are_warned_of(context, summary):
    """From as many people on as a verdict needs."""

    def notes(people: int) -> list[str]:
        few = replace(context, summary=summary.model_copy(update={"people": people}))
        return [part.text for part in Size().parts(few) if isinstance(part, Text)]

    note = "too few to conclude anything: this report only shows how the tool works."
    assert notes(1) == [f"1 person is {note}"]
    assert (notes(9), notes(10)) == ([f"9 people are {note}"], [])


def test_support(boxes):
    found = boxes["support"]
    assert "the mean overall map of all 26 faces" in found.texts[0]
    scale = "One scale for all maps: 0 43.8 times the mean of the map, or more"
    assert found.texts[1:] == ["alpha", "beta", "gamma", scale]
    assert len(found.pictures) == 3


def test_the_page_names_another_method(context):
    settings = context.plan.settings.model_copy(update={"method": "occlusion"})
    other = replace(context, plan=context.plan.model_copy(update={"settings": settings}))
    first = next(Support().parts(other))
    assert first.text.endswith(
        "Bright pixels are those that matter most according to the method ``occlusion``."
    )
    assert "Attribution maps by occlusion of alpha" in render_page(other)


def test_claims(boxes):
    header, *rows = boxes["claims"].tables[0]
    assert header == (
        "claim", "paper", "this study", "strongest control: margin", "verdict", "reason",
    )  # fmt: skip
    unclear = "inconclusive (n = 12)"
    assert [row[:5] for row in rows] == [
        ("scale", "1000 people, 9 recognizers", "13 people, 3 recognizers", "–", "–"),
        (
            "layers of a recognizer differ in focus, more than recognizers do",
            "differ significantly",
            "0.150 – 0.216 bits between region profiles of layers",
            "two recognizers: -0.0100 – 0.0560",
            unclear,
        ),
        (
            "recognizers prioritise similar regions overall",
            "similar",
            "bc of critical masks 0.12 – 0.23",
            "random masks: 0.1000 – 0.2900",
            "supported",
        ),
        (
            "bc of genuine pairs of maps, above that of impostor pairs",
            "0.32 – 0.57",
            "0.12 – 0.19",
            "edges: 0.0000 – 0.0660",
            "inconclusive (n = 10)",
        ),
        ("bc of impostor pairs of maps", "0.04 – 0.13", "0.11 – 0.18", "–", "–"),
        (
            "masks are specific to the person, by their effect on new pictures",
            "–",
            "similarity drop 2.2000 – 2.2330 (cosine); 2.2660 (Euclidean distance)",
            "other: 2.1000 – 2.1330 (cosine); 2.1660 (Euclidean distance)",
            "supported",
        ),
        ("nose, % of the critical pixels", "18.9 – 29.7", "20.0 – 26.6", "edges: 0.0200 – 0.0266", unclear),
        (
            "similarity drop, most relevant 1 % hidden",
            "0.1148",
            "0.1000 – 0.1330 (cosine); 0.1660 (Euclidean distance)",
            "scattered: 0.1600 – 0.1765 (cosine); 0.1930 (Euclidean distance)",
            "supported",
        ),
        (
            "similarity drop under the fill blur",
            "–",
            "0.2000 – 0.2330 (cosine); 0.2660 (Euclidean distance)",
            "moved: -0.1330 – -0.1000 (cosine); -0.1660 (Euclidean distance)",
            "not supported",
        ),
        (
            "similarity drop, random pixels hidden",
            "0.0286",
            "0.0500 – 0.0665 (cosine); 0.0830 (Euclidean distance)",
            "–",
            "–",
        ),
        (
            "masks of one recognizer work on others",
            "they do",
            "50 – 67 % of the own mask's similarity drop",
            "scattered: 0.0300 – 0.1300 (cosine); 0.2300 (Euclidean distance)",
            "supported",
        ),
        (
            "occlusion is more effective on women",
            "it is",
            "d 0.20 – 0.60",
            "all people: 0.1000 – 0.3000",
            "supported",
        ),
    ]  # fmt: skip
    reasons = {row[0][:20]: row[5] for row in rows}
    assert reasons["layers of a recogniz"].startswith(
        "supported on 1 of 3 recognizers, 1 of 3 families; two single layers"
    )
    assert (
        "0.52 – 0.59 for the same person, 0.51 – 0.58 for another person"
        in reasons["bc of genuine pairs "]
    )
    assert reasons["similarity drop, mos"].endswith(
        "2.0 times that of scattered pixels (paper: 4.0)"
    )
    assert reasons["similarity drop, ran"].endswith(
        "0.0250 – 0.0333 (cosine); 0.0415 (Euclidean distance)"
    )
    assert "d 0.22 – 0.62 (pairs: 11)" in reasons["occlusion is more ef"]


def test_regions(boxes):
    found = boxes["regions"]
    assert "the top 2 % of each overall map" in found.texts[0]
    assert found.tables == [
        [
            (
                "region", "recognizer", "share of critical pixels, %", "share of the map, %", "area, %", "edges, %",
                "random weights, %", "share minus strongest control, points", "larger than all controls", "people",
            ),
            *(
                (
                    region, name, percent(share), percent(share / 2), percent(share / 4), percent(share / 5),
                    percent(share / 6), percent(share / 10), "inconclusive (n = 12)", str(people),
                )
                for name, base in BASES.items()
                for region, share, people in (
                    ("eyes", base, 10),
                    ("nose", base + 0.1, 11),
                    ("hat", base + 0.2, 12),
                )
            ),
        ]
    ]  # fmt: skip


def test_second_parser(boxes):
    found = boxes["second_parser"]
    assert "regions from landmarks and from compact" in found.texts[0]
    assert found.tables == [
        [
            ("region", "recognizer", "landmarks, %", "compact, %", "difference, points"),
            *(
                row
                for name, base in BASES.items()
                for row in (
                    ("nose", name, percent(base + 0.1), percent(base + 0.05), percent(base / 50)),
                    ("lips", name, "–", percent(base + 0.15), percent((base + 1) / 50)),
                    ("clothes", name, "–", percent(0), "0.0 [0.0, 0.0]"),
                )
            ),
        ]
    ]


def test_specificity(boxes):
    operands = {"critical": 0, "dense": 0.1, "density": 0.2, "halves": 0.3, "pattern": 0.4}
    controls = {"edges": 0, "areas": 0.1, "random_weights": 0.2}
    # The strongest control has the smallest difference, whose interval starts 0.05 below it.
    words = {
        "alpha": "inconclusive (n = 10)",
        "beta": "inconclusive (n = 10)",
        "gamma": "supported",
    }
    header = (
        "recognizer", "compared", "genuine pairs", "impostor pairs", "AUC", "AUC by chance", "p", "people",
    )  # fmt: skip
    assert boxes["specificity"].tables == [
        [
            header,
            *(
                (
                    name, operand, text(base + add + 0.02), text(base + add + 0.01), text(base + add + 0.5),
                    text(base + add + 0.4), f"{(base + add) / 2:.3f}", "11",
                )
                for name, base in BASES.items()
                for operand, add in operands.items()
            ),
        ],
        [
            (
                "recognizer", "control", "AUC of the critical masks", "AUC of the control", "difference",
                "verdict over all controls", "people",
            ),
            *(
                (
                    name, control, text(base + add + 0.4), text(base + add + 0.3), text(base + add - 0.1), words[name],
                    "10",
                )
                for name, base in BASES.items()
                for control, add in controls.items()
            ),
        ],
        [
            ("recognizer", "impostor pairs matched on", "AUC", "change of the AUC"),
            *(
                (name, covariate, text(base + add), text(add / 10))
                for name, base in BASES.items()
                for covariate, add in (("landmarks", 0.6), ("edges", 0.7))
            ),
        ],
    ]  # fmt: skip


def test_occlusion(boxes):
    found = boxes["occlusion"]
    assert "(fill: mean)" in found.texts[0]
    rows = []
    for name, base in BASES.items():
        kind = "euclidean" if name == "gamma" else "cosine"
        rows += [
            (name, "critical", text(base, 4), "", "", "", "6", "13", kind, "9"),
            (
                name, "scattered", text(base / 2, 4), text(base / 2 + 0.11, 4), f"{base / 10:.4f}",
                f"{base * 3:.2f}", "90", "181", kind, "8",
            ),
            (name, "moved", text(base / 4, 4), text(base * 3 / 4 + 0.2, 4), "–", "–", "5", "11", kind, "7"),
        ]  # fmt: skip
    header = (
        "recognizer", "mask", "similarity drop", "critical minus control", "p", "d", "pieces", "largest piece, pixels",
        "similarity", "people",
    )  # fmt: skip
    verdicts = [
        ("recognizer", "similarity drop", "strongest control", "its drop", "critical minus control", "verdict"),
        *(
            (name, text(base, 4), "scattered", text(base / 2, 4), text(base / 2 + 0.11, 4), "supported")
            for name, base in BASES.items()
        ),
    ]  # fmt: skip
    assert found.tables == [verdicts, [header, *rows]]


def test_effect(boxes):
    fills = ("black", "mean", "blur", "local_blur", "road")
    masks = (
        "critical", "other_picture", "other_person", "population", "edges", "edges_other_picture", "edges_other_person",
    )  # fmt: skip
    counts, claims, energies, drops = boxes["effect"].tables
    assert drops == [
        ("recognizer", "fill", *masks, "people"),
        *(
            (name, fill, *(text(base + f / 10 + m / 100, 4) for m in range(len(masks))), "9")
            for name, base in BASES.items()
            for f, fill in enumerate(fills)
        ),
    ]
    # The places of the contrasts: of the mask, over another person, over the population, beyond edges; of the edges.
    places = {"same picture": (0, 0, 1, 3, 2), "other picture": (1, 4, 5, 7, 6)}
    expected, per_energy = [], []
    for name, base in BASES.items():
        for picture, (mask, other, population, beyond, edges) in places.items():
            for f, fill in enumerate(fills):
                first = base + f / 10
                drop = {c: first + c / 50 - 0.1 for c in (other, population, beyond, edges)}
                lows = [drop[c] - 0.05 for c in (other, population, beyond)]
                word = "supported" if min(lows) > 0 else "inconclusive (n = 12)"
                expected.append(
                    (
                        name, picture, fill, text(first + mask / 100, 4), text(drop[other], 4),
                        text(first + other / 50 + 1, 2), text(drop[population], 4), text(drop[edges], 4),
                        text(first + edges / 50 + 1, 2), text(drop[beyond], 4), word,
                    )
                )  # fmt: skip
                rates = (text(first + c / 50 + 10, 1) for c in (other, population, beyond))
                per_energy.append((name, picture, fill, *rates))
    assert claims[1:] == expected
    assert {row[-1] for row in expected} == {"supported", "inconclusive (n = 12)"}
    assert counts[1:] == [
        (
            picture,
            fill,
            *(
                str(sum(base + f / 10 + c / 50 - 0.15 > 1e-9 for base in BASES.values()))
                for c in places[picture][1:4]
            ),
            str(sum(row[1:3] == (picture, fill) and row[-1] == "supported" for row in expected)),
        )
        for picture in places
        for f, fill in enumerate(fills)
    ]
    assert len({row[-1] for row in counts[1:]}) > 1
    assert energies[1:] == per_energy


def test_person_maps(boxes):
    effects, overlaps = boxes["person_maps"].tables
    fills = ("black", "mean", "blur", "local_blur", "road")
    expected = []
    for name, base in BASES.items():
        for count in (1, 3):
            for f, fill in enumerate(fills):
                first = base + count - 1 + f / 10
                expected.append(
                    (
                        name, str(count), fill, "mean", text(first, 4), text(first - 0.1, 4), text(first + 1, 2),
                        text(first - 0.08, 4), text(first, 4), text(first - 0.06, 4), "12",
                        "supported" if first > 1 else "inconclusive (n = 12)",
                    )
                )  # fmt: skip
    assert effects[1:] == expected
    assert overlaps[1:] == [
        (name, "1", kind, *(text(base + first + add) for add in (0, -0.05, 0.2, 0.3)), "6")
        for name, base in BASES.items()
        for kind, first in (("mean", 0), ("edges", 0.1))
    ]


def test_curves(boxes):
    found = boxes["curves"]
    assert "a subset of 4 people" in found.texts[0]
    assert found.tables == [
        [
            (
                "recognizer",
                "fill",
                "pixels hidden",
                "strongest control",
                "critical minus control",
                "verdict",
            ),
            *(
                (name, fill, "1 %", "moved", text(sign * base, 4), word)
                for name, base in BASES.items()
                for fill, sign, word in (
                    ("mean", 1, "supported"),
                    ("blur", -1, "not supported"),
                )
            ),
        ],
        [
            ("recognizer", "fill", "mask", "1 %", "5 %", "people"),
            *(
                (name, fill, mask, f"{base + add:.4f}", f"{base + add + 0.5:.4f}", "4")
                for name, base in BASES.items()
                for fill, mask, add in (
                    ("mean", "critical", 0),
                    ("mean", "moved", 0.01),
                    ("blur", "critical", 0.1),
                    ("blur", "moved", 0.11),
                )
            ),
        ],
    ]


def test_verification(boxes):
    header = (
        "recognizer", "deletion by the map", "deletion at random", "insertion by the map", "insertion at random",
        "people",
    )  # fmt: skip
    assert boxes["verification"].tables == [
        [
            header,
            *(
                (name, text(base + 0.2), text(base + 0.3), text(base + 0.4), text(base + 0.5), "4")
                for name, base in BASES.items()
            ),
        ]
    ]


def test_sanity(boxes):
    header = (
        "recognizer", "rank correlation, all randomised", "structural similarity, all randomised", "people",
    )  # fmt: skip
    assert boxes["sanity"].tables == [
        [
            header,
            *((name, text(base - 0.1), text(base + 0.1), "14") for name, base in BASES.items()),
        ]
    ]


def test_the_chart_of_randomised_layers_states_its_people():
    def figures(people):
        step = SanityFigures.Step(
            randomised=1,
            rank=Estimate(0.1, 0, 1, people),
            ssim=Estimate(0.2, 0, 1, people),
            invalid=None,
        )
        return SanityFigures(steps=[step])

    panels = randomisation_chart({"a": figures(14), "b": figures(11)}).panels
    assert {panel.axis for panel in panels} == {
        "% of the layers randomised, top down; n = 11 to 14"
    }
    assert [line.label for line in panels[0].lines] == ["a", "b"]


def test_an_invalid_randomisation_is_named():
    nothing = Estimate(None, None, None, 0)
    step = SanityFigures.Step(randomised=1, rank=nothing, ssim=nothing, invalid="no maps")
    (_, _, table) = Sanity().parts(
        SimpleNamespace(summary=SimpleNamespace(each=lambda _: {"a": SanityFigures(steps=[step])}))
    )
    assert table.rows == [("a", "–", "–", "invalid: no maps")]


def test_swap(boxes):
    assert boxes["swap"].tables == [
        [
            ("recognizer", "nose", "lips", "people"),
            *((name, text(base + 0.4), text(base + 0.41), "4") for name, base in BASES.items()),
        ]
    ]


def test_stability(boxes):
    assert boxes["stability"].tables == [
        [
            ("recognizer", "sensitivity to noise", "mirror consistency", "people"),
            *((name, text(base + 0.01), text(base + 0.6), "4") for name, base in BASES.items()),
        ]
    ]


def test_agreement(boxes):
    found = boxes["agreement"]
    assert "have 0.02 of their pixels in common" in found.texts[0]
    assert found.charts == [
        "Bhattacharyya coefficients of critical masks",
        "Tree of recognizers by the similarity of their critical masks",
        "Rank correlations of whole maps",
    ]


def test_transfer(boxes):
    header = (
        "similarity drop of", "own mask", "other recognizers' masks", "random", "others minus random", "p", "people",
    )  # fmt: skip
    assert boxes["transfer"].tables == [
        [
            header,
            *(
                (
                    name, text(0.4 + add, 4), text(0.2 + add, 4), text(0.1 + add, 4), text(0.03 + add, 4),
                    f"{0.01 + add:.4f}", "6",
                )
                for name, add in zip(NAMES, (0, 0.1, 0.2), strict=True)
            ),
        ]
    ]  # fmt: skip


def test_groups(boxes):
    found = boxes["groups"]
    assert found.title == "By gender"
    assert found.texts[0].startswith("female: 15 people, male: 16 people, other: 17 people. ")
    assert "matched on yaw, pitch and hair;" in found.texts[0]
    assert "an inconclusive gap is not shown to be absent" in found.texts[0]
    header = (
        "recognizer", "figure", "groups", "difference", "people", "p, corrected", "Cohen's d",
        "larger in the first group", "matched on pose", "pairs", "p, corrected", "d", "larger, matched",
        "matched on all", "pairs",
    )  # fmt: skip
    assert found.tables == [
        [
            header,
            *(
                (
                    name, figure, groups, text(base, 4), "12", f"{base / 4:.4f}", f"{base * 2:.2f}", "supported",
                    text(base + 0.01, 4), "11", f"{(base + 0.01) / 4:.4f}", f"{(base + 0.01) * 2:.2f}", "supported",
                    text(base + 0.02, 4), "3",
                )
                for name, figure, groups, base in (
                    ("alpha", "similarity drop", "female – male", 0.1),
                    ("alpha", "share of nose", "female – male", 0.2),
                    ("beta", "similarity drop", "female – male", 0.3),
                    ("alpha", "similarity drop", "male – other", 0.4),
                )
            ),
        ]
    ]  # fmt: skip
    assert boxes["groups-2"].title == "By age"
    assert boxes["groups-2"].texts == [
        "There are no two groups of at least five people to compare."
    ]


def test_a_group_of_few_people_supports_no_verdict():
    column = groups().columns["gender"]
    few = {**column.groups, "male": column.groups["male"].model_copy(update={"people": 9})}
    row = column.gaps[0]
    assert str(verdict({"none": judged_gap(column, row)})) == "supported"
    small = column.model_copy(update={"groups": few})
    assert str(verdict({"none": judged_gap(small, row)})) == "inconclusive (n = 9)"


def test_groups_that_are_left_out_are_named():
    column = GroupFigures.Column(
        groups={}, left_out={"other": 3, "none": 1}, unknown=2, covariates=[], gaps=[]
    )
    assert left_out_note(column) == (
        "Not compared, since they are fewer than 5 or not known: other (n = 3), none (n = 1), people without a value "
        "(n = 2)."
    )
    assert not left_out_note(GroupFigures.Column(groups={}, covariates=[], gaps=[]))


def test_layers(boxes):
    found = boxes["layers"]
    assert "Layers are taken at 10 equal steps of relative depth." in found.texts[0]
    assert found.texts[2] == "One scale for all maps: 0 4.0 times the mean of the map, or more"
    assert found.texts[3:] == [
        line for name in NAMES for line in (f"{name}, 3 layers", "1", "2", "3")
    ]
    header = (
        "recognizer", "one recognizer, bits", "two, same depth", "two, different depths",
        "one minus two at the same depth", "p", "verdict", "people",
    )  # fmt: skip
    verdicts = {**dict.fromkeys(NAMES, "inconclusive (n = 12)"), "gamma": "supported"}
    assert found.tables == [
        [
            header,
            *(
                (
                    name, text(base), text(base + 0.01), text(base + 0.02), text(base - 0.11), f"{base / 3:.4f}",
                    verdicts.get(name, "–"), "14",
                )
                for name, base in {**BASES, "all recognizers": 0.2}.items()
            ),
        ]
    ]  # fmt: skip
    assert found.charts[1:] == [f"Density of each layer of {name} in each region" for name in NAMES]


def test_failures_and_exclusions(boxes):
    assert boxes["failures"].tables == [[("recognizer", "reason"), ("delta", "out of <memory>")]]
    assert boxes["exclusions"].tables == [
        [
            ("picture", "reason"),
            ("n/0.png", "no face"),
            ("n/1.png", "the only usable picture of n"),
        ]
    ]


def test_provenance(boxes, folder):
    found = boxes["provenance"]
    origin, recognizers, versions = found.tables
    summary = folder.path / "summary.json"
    assert [name for name, _ in origin] == [
        "figures written", "data", "people and faces", "sha256 of summary.json",
    ]  # fmt: skip
    written = datetime.strptime(origin[0][1], "%Y-%m-%d %H:%M UTC").replace(tzinfo=timezone.utc)
    assert 0 <= summary.stat().st_mtime - written.timestamp() < 60
    assert origin[1][1] == "faces"
    assert origin[2][1] == "13 and 26"
    assert origin[3][1] == sha256(summary.read_bytes()).hexdigest()
    assert recognizers[1:] == [
        ("alpha", "float32", "signed", "licence of alpha", "example.org", "0" * 64),
        ("beta", "float32", "–", "not stated", "not stated", "1" * 64),
        ("gamma", "float32", "–", "licence of gamma", "not stated", "2" * 64),
    ]
    assert versions[:3] == [("leam", "1.2.3"), ("torch", "4.5"), ("plug-in: fill grey", "plug 0.1")]
    rows = dict(versions)
    assert rows["top"] == "0.02"
    assert rows["second parser"] == "compact"
    assert rows["fills"] == "mean, blur"
    assert rows["probes"] == "none"
    assert rows["transfer"] == "yes"
    assert found.texts[-1].endswith("or render it again with --no-faces.")
