"""Tests of stratoscope/commands/completion.py, with the shell that completes."""

import subprocess
from pathlib import Path

import pytest

from stratoscope.commands.completion import completion_script
from stratoscope.commands.table import COMMANDS, main


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash, in a folder with a folder and a file."""
    folder = tmp_path_factory.mktemp("completion")
    (folder / "runs").mkdir()
    (folder / "mine.yaml").touch()
    runs = [f"{name}/run.json" for name in ("one", "two", "tiny/full/three")]
    for name in (*runs, "no_run/notes", "tiny/full/experiment.json"):
        (folder / "all" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "all" / name).touch()
    file = folder / "script"
    file.write_text(completion_script("bash"))
    return file


def completed(script: Path, *words: str) -> set[str]:
    """What bash offers in place of the last word after `stratoscope`."""
    asks = 'source ./script; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_stratoscope; '
    asks += 'printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", asks, "bash", "stratoscope", *words],
        cwd=script.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return {line.strip() for line in done.stdout.splitlines()} - {""}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["re"], {"resume", "reproduce", "report"}),
        (["fit", "--model", "Small"], {"SmallAlexNet", "SmallInception"}),
        (["fit", "--data.corruption+", "RandomL"], {"RandomLabels"}),
        (["fit", "--model", "MLP", "--model.dep"], {"--model.depth"}),
        (["validate", "--trainer.max_ep"], {"--trainer.max_epochs"}),
        (["fit", "--data.root", "r"], {"runs"}),
        (["fit", "--config", "m"], {"mine.yaml"}),
        (["best", "test/"], {"test/accuracy", "test/loss"}),
        (["ls", "--so"], {"--sort"}),
        (["show", "x", "--runs", ""], {"all", "runs"}),
        (["show", "--runs", "all", ""], {"one", "two", "three"}),
        (["show", ""], set()),
        (["resume", "--trust", "al"], {"all"}),
        (["report", "all/tiny/f"], {"all/tiny/full"}),
        (["reproduce", "alain2016/m"], {"alain2016/mnist_convnet"}),
        (["workspace", "me/mine", "zhang2017/figure1"], {"zhang2017/figure1"}),
        (["reproduce", "zhang2017/figure1", "--scale", "sm"], {"small"}),
        (["fit", "--trainer.logger", "T"], {"TensorBoardLogger"}),
        (["fit", "--trainer.logger+", "Wa"], {"WandbLogger"}),
        (["fit", "--trainer.logger", "CSVLogger", "--trainer.logger.s"], {"--trainer.logger.save_dir"}),
        (["fit", "--model.optimizer", "Adam"], {"Adam", "AdamW", "Adamax"}),
        (
            ["fit", "--model.optimizer", "SGD", "--model.optimizer.m"],
            {"--model.optimizer.momentum", "--model.optimizer.maximize"},
        ),
        (["fit", "--model.scheduler", "StepLR", "--model.scheduler.s"], {"--model.scheduler.step_size"}),
        (["fit", "--model.scheduler", "StepLR", "--model.scheduler.o"], set()),
        (["fit", "--model", "MLP", "--model.w"], {"--model.width"}),
        (["fit", "--model=MLP", "--model.w"], {"--model.width"}),
        (["fit", "--model", "=", "MLP", "--model.w"], {"--model.width"}),  # as bash breaks it up
        (["fit", "--model", "stratoscope.models.MLP", "--model.w"], {"--model.width"}),
        (["fit", "--model", "MLP", "--model.optimizer", "SGD", "--model.w"], {"--model.width"}),
        (["fit", "--model", "Mine", "--model.wei"], {"--model.weight_decay", "--model.weights_file"}),
        (["fit", "--data", "Digits", "--data.ro"], set()),
        (
            ["fit", "--data.corruption", "RandomSubset", "--data.corruption+", "PartialLabels", "--data.corruption.p"],
            {"--data.corruption.p"},
        ),
        (["fit", "--trainer.callbacks", "LinearProbes", "--trainer.callbacks.ta"], {"--trainer.callbacks.taps"}),
        (
            ["fit", "--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.mo"],
            {"--trainer.callbacks.monitor", "--trainer.callbacks.mode"},
        ),
        (["fit", "--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.ta"], set()),
        (
            ["fit", "--model", "MLP", "--trainer.callbacks.taps", ""],
            {"natural", "all", "input", "network.flatten", "network.fc1", "network.relu1", "network.logits"},
        ),
        (
            ["fit", "--model", "SmallAlexNet", "--trainer.callbacks.taps", "network.p"],
            {"network.pool1", "network.pool2"},
        ),
        (["reproduce", "--slurm_template", "mi"], {"mine.yaml"}),
        (["resume", "ru"], {"runs"}),
    ],
    ids=lambda part: " ".join(sorted(part) if isinstance(part, set) else part),
)
def test_a_shell_completes(words: list[str], offered: set[str], script: Path) -> None:
    """Commands, options, names of classes and metrics, files and folders."""
    assert completed(script, *words) == offered


def test_every_command_is_offered(script: Path) -> None:
    """Before any is begun."""
    assert completed(script, "") >= set(COMMANDS)


def test_the_script_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """--print_completion prints a script that knows our classes, for other shells too."""
    main(["--print_completion", "zsh"])
    printed = capsys.readouterr().out
    assert printed.startswith("#compdef stratoscope")
    assert "RandomLabels" in printed


@pytest.mark.parametrize("words", [[], ["basch"], ["bash", "zsh"]])
def test_another_shell_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """In one line with those there are."""
    with pytest.raises(SystemExit) as stop:
        main(["--print_completion", *words])
    assert stop.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("stratoscope: --print_completion: expected bash or zsh")
    assert line.endswith(f", got {' '.join(words) or 'nothing'}\n")
