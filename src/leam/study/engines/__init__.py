"""The built-in engines, one module each; see :mod:`leam.study.engine`."""
