"""The built-in face parsers, one module each."""
