"""The command line: parse arguments, call the library, print results."""

from leam.cli.app import main

__all__ = ["main"]
