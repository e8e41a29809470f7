"""``python -m leam``."""

from leam.cli import main

main()
