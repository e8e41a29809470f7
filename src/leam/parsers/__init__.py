"""Face parsers: which part of the face each pixel shows."""

from leam.parsers.parsing import Parser, Parsing
from leam.parsers.regions import GROUPS, LABELS, REGIONS
from leam.parsers.registry import load_parser, parser, parsers

__all__ = ["GROUPS", "LABELS", "REGIONS", "Parser", "Parsing", "load_parser", "parser", "parsers"]
