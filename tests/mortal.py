"""A recognizer that takes its process with it, once or every time."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch

from tiny import TinyNet


class Mortal(TinyNet):
    """Kills a process other than the one that made it, without warning; just once where there is a grave.

    It does so over several faces at once, and not already where an explainer looks at it with a single blank one.
    """

    def __init__(self, size: int, grave: Path | None) -> None:
        torch.manual_seed(0)
        super().__init__(size)
        self.grave, self.maker = grave, os.getpid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        embeddings = super().forward(x)
        if len(x) > 1 and os.getpid() != self.maker and not (self.grave and self.grave.exists()):
            if self.grave:
                self.grave.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return embeddings
