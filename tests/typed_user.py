"""Code of a user, which `mypy --strict` accepts (pyproject.toml lists this file). Nothing here is run."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import leam
import leam.explain
from leam import explain
from leam.explain.methods import create_method


def user() -> tuple[object, ...]:
    one: leam.Explanation = leam.explain("ada.jpg")
    pair: leam.Explanation = leam.explain(Path("ada.jpg"), "sface", with_="bob.jpg")
    opened: leam.Explanation = leam.explain(Image.open("ada.jpg"))
    array: leam.Explanation = leam.explain(np.zeros((200, 200, 3), np.uint8))
    several: list[leam.Explanation] = leam.explain(["ada.jpg", "bob.jpg"])
    paths: list[Path] = sorted(Path().glob("*.jpg"))
    others: list[leam.Explanation] = explain(paths, parser="compact", method="occlusion")
    module: nn.Module = nn.Identity()
    batch: list[leam.Explanation] = leam.explain(torch.zeros(2, 3, 112, 112), module, range=(0, 1))
    create_method("leam", leam.load_recognizer())
    numbers = one.maps["conv"].shape, pair.decision, one.to_frame().height
    run = leam.open_run("run")
    return numbers, one.plot("layers"), opened, array, several, others, batch, run.tables["faces"]
