"""The command line: parse, call, print."""

from leam.cli.app import main

__all__ = ["main"]
