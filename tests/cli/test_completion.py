"""Shell completion."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("leam st", ["study"]),
        ("leam models ch", ["check"]),
        ("leam explain --back", ["--backend"]),
        ("leam explain --precision b", ["bfloat16"]),
        ("leam study --device c", ["cpu", "cuda"]),
        ("leam explain --parser com", ["compact"]),
        ("leam explain --model dlib", ["dlib_resnet"]),
        ("leam models layers dlib", ["dlib_resnet"]),
        ("leam parse --detector d", ["dlib"]),
        ("leam explain --backend f", ["fused"]),
    ],
)
def test_words_are_completed(spawn, words, expected):
    last = str(len(words.split()) - 1)
    result = spawn(_LEAM_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=last)
    assert result.stdout.split() == expected
    assert not result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(spawn, shell):
    script = spawn("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_LEAM_COMPLETE" in script.stdout
