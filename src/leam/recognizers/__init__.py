"""Recognizers: networks that map an aligned face to an embedding."""

from leam.recognizers.card import Card, read_card
from leam.recognizers.recognizer import Recognizer
from leam.recognizers.registry import architecture, builtin_cards, load_recognizer

__all__ = ["Card", "Recognizer", "architecture", "builtin_cards", "load_recognizer", "read_card"]
