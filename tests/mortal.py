"""A recognizer that takes its process with it, once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch

from tiny import TinyNet


class Mortal(TinyNet):
    """Kills a process other than the one that made it, without warning, unless that has happened before."""

    def __init__(self, size: int, grave: Path) -> None:
        torch.manual_seed(0)
        super().__init__(size)
        self.grave, self.maker = grave, os.getpid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        embeddings = super().forward(x)
        if os.getpid() != self.maker and not self.grave.exists():
            self.grave.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return embeddings
