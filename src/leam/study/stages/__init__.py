"""The built-in stages of a study, one module each; see :mod:`leam.study.stage`."""
