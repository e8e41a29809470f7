"""Recognizers: networks that map an aligned face to an embedding."""
