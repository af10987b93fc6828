"""Tests of stratoscope/commands/table.py: what every command has in common, and what the light ones leave alone."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import stratoscope
from stratoscope.commands.table import COMMANDS, OPTIONS, TRAINING, main
from stratoscope.errors import Refused

ROOT = Path(stratoscope.__file__).parents[1]
OF_LIGHTNING = {
    "fit": "Runs the full",
    "validate": "one evaluation",
    "test": "one evaluation",
    "predict": "on your data",
}
# what only parses words, or reads files: it starts within a quarter of the time of Lightning's import
LIGHT = [
    *([option] for option in ("--help", "-h", "--version")),
    *([name, "--help"] for name in COMMANDS if name not in TRAINING),
    ["reproduce"],
    ["reproduce", "zhang2017/figur1"],
    ["ls", "old_runs"],
    ["show", "given", "--runs", "old_runs"],
    ["best", "test/accuracy", "old_runs"],
]


def ended(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    """The exit code of a command, and what it has said."""
    code: object = 0
    try:
        main(words)
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what the command takes and does, and ends well."""
    code, out, err = ended([name, "--help"], capsys)
    assert (code or 0, err) == (0, "")
    words = " ".join(out.split())
    if name in TRAINING:
        assert words.startswith(f"usage: stratoscope [options] {name} ")
        assert OF_LIGHTNING[name] in words
        return
    assert words.startswith(f"usage: stratoscope {name} ")
    assert import_module(COMMANDS[name].load().__module__).parser(name).description in words


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_the_help_lists_every_command(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With what each does, and the options that are no command."""
    code, out, err = ended([option], capsys)
    assert (code, err) == (0, "")
    lines = [line.split(maxsplit=1) for line in out.splitlines() if line.startswith("  ")]
    there = {name: entry.help for name, entry in (COMMANDS | OPTIONS).items() if entry.help}
    assert {name: text for name, text in lines if name in there} == there


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """That of the package that is imported."""
    assert ended(["--version"], capsys) == (0, f"stratoscope {stratoscope.__version__}\n", "")


def test_every_row_leads_to_a_function() -> None:
    """No row names a module or function that is not there."""
    for entry in (COMMANDS | OPTIONS).values():
        assert callable(entry.load())


@pytest.mark.parametrize(("word", "meant"), [("reproduc", "reproduce"), ("lst", "list"), ("validat", "validate")])
def test_an_unknown_command_is_refused_with_the_nearest(
    word: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, with all there are."""
    code, out, err = ended([word], capsys)
    assert (code, out) == (2, "")
    assert err == f"stratoscope: no command {word}; commands are {', '.join(COMMANDS)}; did you mean {meant}?\n"


@pytest.mark.parametrize("words", [[], ["--model", "MLP"]])
def test_a_missing_command_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With those there are, and an example."""
    code, out, err = ended(words, capsys)
    assert (code, out) == (2, "")
    assert err.startswith(f"stratoscope: a command is missing, one of {', '.join(COMMANDS)}; for example: ")


@pytest.mark.parametrize("words", [["reproduce"], ["doctor", "--help"], ["list", "--help"], ["fit", "--help"]])
def test_a_rank_that_is_no_number_is_refused(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where nothing is imported that would stumble over it; what only reads files does not mind."""
    monkeypatch.setenv("SLURM_PROCID", "first")
    assert ended(words, capsys)[::2] == (
        2,
        "stratoscope: SLURM_PROCID=first in the environment must be a whole number: unset it\n",
    )
    assert ended(["ls", "--help"], capsys)[0] == 0


def test_the_light_commands_import_nothing_heavy() -> None:
    """One process runs them all, and has imported neither torch nor Lightning nor pandas."""
    code = f"""
import sys
from stratoscope.commands.table import main
for words in {LIGHT}:
    code = 0
    try:
        main(words)
    except SystemExit as stop:
        code = stop.code
    found = [name for name in ("torch", "lightning", "pandas", "matplotlib", "wandb") if name in sys.modules]
    print("->", *words, code or 0, found)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "tests",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    said = [line.removeprefix("-> ") for line in done.stdout.splitlines() if line.startswith("-> ")]
    codes = [2 if "zhang2017/figur1" in words else 0 for words in LIGHT]
    assert said == [f"{' '.join(words)} {code} []" for words, code in zip(LIGHT, codes, strict=True)], done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trust", "resume"], "resume: missing: RUN"),
        (["--debug", "--trust", "resume", "runs/none", "--extra"], "resume: unknown option --extra"),
        (["--print_completion=nosh"], "--print_completion: expected bash"),
        (["--print_completion", "nosh"], "--print_completion: expected bash"),
        (["--runs", "x"], "a command is missing"),
    ],
)
def test_options_may_come_first(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that are of the whole command line."""
    code, _, err = ended([word for word in words if word != "--debug"], capsys)
    assert code == 2
    assert message in err
    if "--debug" in words:
        with pytest.raises(Refused, match=message):
            main(words)
