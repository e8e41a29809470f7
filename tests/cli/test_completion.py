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
        ("leam explain --method hi", ["hires-cam", "hierarchical"]),
        ("leam study faces --weighting si", ["signed"]),
        ("leam study faces --preset pa", ["paper"]),
        ("leam study faces --keep n", ["nothing"]),
        ("leam protect mine --against dlib_resnet,sf", ["dlib_resnet,sface"]),
        ("leam protect mine --changes h", ["hat"]),
        ("leam compare a.jpg --models dlib", ["dlib_resnet"]),
        ("leam study faces --models sf,dlib", ["sf,dlib_resnet"]),
        ("leam audit faces --models al", ["all"]),
        ("leam audit faces --models dlib_resnet,dlib", []),
        ("leam compa", ["compare"]),
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


def test_the_first_tab_of_zsh_completes(spawn, tmp_path):
    """The script is loaded by the first Tab, and must not only define the function that completes."""
    script = spawn("--show-completion", "zsh", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    *_, last = script.stdout.strip().splitlines()
    assert last == '[[ $zsh_eval_context[-1] == loadautofunc ]] && _leam_completion "$@"'
    installed = spawn(
        "--install-completion",
        "zsh",
        HOME=str(tmp_path),
        _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1",
    )
    assert installed.returncode == 0, installed.stderr
    assert last in (tmp_path / ".zfunc" / "_leam").read_text()
    assert ".zfunc" in (tmp_path / ".zshrc").read_text()
