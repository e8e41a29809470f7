"""Write the fixed split of the CelebAMask-HQ images into training, validation and test sets.

python training/split.py CELEBAMASK_FOLDER training/split.json
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

VALIDATION, TEST = 50, 150


def main() -> None:
    """Shuffle the sorted names with a fixed seed and split them."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path, help="folder with images/ and masks/")
    arguments.add_argument("out", type=Path, help="output file (.json)")
    given = arguments.parse_args()
    names = sorted(path.stem for path in (given.folder / "images").glob("*.jpg"))
    random.Random(0).shuffle(names)  # noqa: S311  not used for security
    parts = {
        "test": sorted(names[:TEST]),
        "validation": sorted(names[TEST : TEST + VALIDATION]),
        "train": sorted(names[TEST + VALIDATION :]),
    }
    given.out.write_text(json.dumps(parts, indent=0) + "\n")


if __name__ == "__main__":
    main()
