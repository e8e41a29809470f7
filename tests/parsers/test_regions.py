import pytest

from leam.errors import ModelError
from leam.parsers.regions import INDEX, LABELS, ORDERS, label_values, translate

# Written out by hand: sides are the person's in these lists, the picture's in ours.
GOLDEN = {
    "bisenet": """background skin right_brow left_brow right_eye left_eye glasses right_ear left_ear
        earring nose mouth upper_lip lower_lip neck necklace clothes hair hat""",
    "celebamask": """background skin nose glasses right_eye left_eye right_brow left_brow right_ear
        left_ear mouth upper_lip lower_lip hair hat earring necklace neck clothes""",
    "farl_celebm": """background neck skin clothes left_ear right_ear left_brow right_brow left_eye
        right_eye nose mouth lower_lip upper_lip hair glasses hat earring necklace""",
    "farl_lapa": """background skin left_brow right_brow left_eye right_eye nose upper_lip mouth
        lower_lip hair""",
    "unet_simonenkel": """background upper_lip right_brow skin left_ear left_eye nose necklace
        right_ear glasses lower_lip left_brow hat hair mouth neck clothes right_eye earring""",
}


@pytest.mark.parametrize("family", ORDERS)
def test_each_order_translates_to_its_golden_list(family):
    assert translate(ORDERS[family]) == tuple(GOLDEN[family].split())


@pytest.mark.parametrize("family", sorted(set(ORDERS) - {"farl_lapa"}))
def test_the_nineteen_classes_are_all_there_once(family):
    labels = translate(ORDERS[family])
    assert len(labels) == 19
    assert set(labels) == {label.name for label in LABELS} - {"forehead"}


def test_the_data_sets_own_abbreviations_and_file_names_are_known():
    names = ["eye_g.png", "ear_r.png", "neck_l.png", "l_eye.png"]
    assert translate(names) == ("glasses", "earring", "necklace", "right_eye")


def test_an_unknown_class_is_named():
    with pytest.raises(ModelError, match="moustache: not a class"):
        translate(["background", "moustache"])


def test_label_values_is_a_table_from_class_to_label():
    table = label_values(translate(ORDERS["bisenet"]))
    assert table.dtype == "uint8"
    assert table[10] == INDEX["nose"]
    assert table[17] == INDEX["hair"]


def test_the_masks_sides_are_the_persons(assets):
    """``l_eye`` lies to the right of ``r_eye``, but for the masks (67 of 1000) that swap them."""
    import numpy as np
    from PIL import Image

    left, right = ORDERS["celebamask"].index("l_eye"), ORDERS["celebamask"].index("r_eye")
    as_named = []
    for path in sorted((assets / "parsing" / "celebamask" / "masks").glob("*.png"))[:60]:
        mask = np.asarray(Image.open(path))
        if (mask == left).any() and (mask == right).any():
            as_named.append(
                np.nonzero(mask == left)[1].mean() > np.nonzero(mask == right)[1].mean()
            )
    assert np.mean(as_named) > 0.85
