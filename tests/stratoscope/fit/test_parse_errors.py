"""Tests of stratoscope/fit/parse_errors.py: what was probably meant by an option that there is not."""

from pathlib import Path

import pytest
import yaml

from stratoscope.commands.table import main
from stratoscope.fit.parse_errors import ALIASES, WRITTEN, one_line

FIT = "fit --model MLP --data Digits --trainer.callbacks LinearProbes --data.corruption PartialLabels"
MEANT = {
    "trainer.max_epochs=3": "unknown option trainer.max_epochs; did you mean --trainer.max_epochs 3?",
    "max_epochs=3": "unknown option max_epochs; did you mean --trainer.max_epochs 3?",
    "lr=0.1": "unknown option lr; did you mean --model.optimizer.lr 0.1?",
    "model.depth=2": "unknown option model.depth; did you mean --model.depth 2?",
    "something": "unknown option something; options start with --",
    "--lr 0.1": "unknown option --lr; did you mean --model.optimizer.lr?",
    "--lr=0.1": "unknown option --lr; did you mean --model.optimizer.lr?",
    "--learning-rate 0.1": "unknown option --learning-rate; did you mean --model.optimizer.lr?",
    "--model.lr 0.1": "unknown option --model.lr; did you mean --model.optimizer.lr?",
    "--optimizer.lr 0.1": "unknown option --optimizer.lr; did you mean --model.optimizer.lr?",
    "--weight_decay 0": "unknown option --weight_decay; did you mean --model.optimizer.weight_decay?",
    "--epochs 3": "unknown option --epochs; did you mean --trainer.max_epochs?",
    "--max_epochs 3": "unknown option --max_epochs; did you mean --trainer.max_epochs?",
    "--trainer.epochs 3": "unknown option --trainer.epochs; did you mean --trainer.max_epochs?",
    "--seed 1": "unknown option --seed; did you mean --seed_everything?",
    "--batch_size 8": "unknown option --batch_size; did you mean --data.batch_size?",
    "--batch-size 8": "unknown option --batch-size; did you mean --data.batch_size?",
    "--gpus 1": "unknown option --gpus; did you mean --trainer.devices?",
    "--trainer.gpus 1": "unknown option --trainer.gpus; did you mean --trainer.devices?",
    "--name x": "unknown option --name; did you mean --run?",
    "--dataset x": "unknown option --dataset; did you mean --data?",
    "--output_dir x": "unknown option --output_dir; did you mean --runs?",
    "--checkpoint x": "unknown option --checkpoint; did you mean --ckpt_path?",
    "--wandb": "unknown option --wandb; did you mean --trainer.logger WandbLogger?",
    "--precision 16": "unknown option --precision; did you mean --trainer.precision?",
    "--limit_train_batches 1": "unknown option --limit_train_batches; did you mean --trainer.limit_train_batches?",
    "--depth 3": "unknown option --depth; did you mean --model.depth?",
    "--channels 1": "unknown option --channels; did you mean --data.channels?",
    "--p 0.1": "unknown option --p; did you mean --data.corruption.p?",
    "--ridge 1": "unknown option --ridge; did you mean --trainer.callbacks.ridge?",
    "--model.widht 8": "unknown option --model.widht; did you mean --model.width?",
    "--data.root x": "unknown option --data.root; Digits takes channels",
    "--data_dir x": "unknown option --data_dir; Digits takes no root",
    "--resume x": "unknown option --resume; did you mean the command stratoscope resume runs/NAME?",
    "--data.corruption.lr 1": "unknown option --data.corruption.lr; PartialLabels takes p, seed",
    "--trainer.callbacks.epohcs [1]": "unknown option --trainer.callbacks.epohcs; "
    "did you mean --trainer.callbacks.epochs?",
}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--model.optimizer.lr nan", "--model.optimizer.lr: expected a number, got nan"),
        (
            "--data.corruption.seed 3",
            "--data.corruption.seed: --data.corruption is missing: it says which class takes this",
        ),
        (
            "--data.corruption Corruption",
            "--data.corruption: Corruption is abstract: give a class that is made from it",
        ),
        (
            "--data.corruption+ AutomaticLabels",
            "--data.corruption: AutomaticLabels is abstract: give a class that is made from it",
        ),
        ("--model KeskarConvNet", "--model: KeskarConvNet is abstract: give a class that is made from it"),
    ],
)
def test_what_has_no_class_or_is_no_number_is_named(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As jsonargparse would take a class in their place."""
    with pytest.raises(SystemExit) as stop:
        main([*"fit --model MLP --data Digits".split(), *words.split()])
    assert stop.value.code == 2
    assert capsys.readouterr().err.strip() == f"stratoscope: {said}"


# names of other programs that mean one of our options, as all of ALIASES do
ALIKE = ["--learning-rate 0.1", "--optimizer.lr 0.1", "--weight_decay 0", "--max_epochs 3", "--batch-size 8"]
ALIKE += ["--gpus 1", "--seed 1", "--name x", "--output_dir x", "--checkpoint x", "--limit_train_batches 1"]
ALIKE += ["--channels 1", "--ridge 1", "--lr=0.1", "max_epochs=3"]


def test_every_name_of_other_programs_is_known() -> None:
    """With any value, also with dashes for underscores, of a network and data that take them."""
    words = ["fit", "--model", "MLP", "--data", "CIFAR10"]
    for option, names in ALIASES.items():
        for name in {*names.split(), *names.replace("_", "-").split()}:
            if f"--{name}" != option:
                line = one_line(f"Unrecognized arguments: --{name}=3", [*words, f"--{name}=3"])
                assert line == f"unknown option --{name}; did you mean {option}?"


@pytest.mark.parametrize(
    "words", [pytest.param(words, marks=[pytest.mark.slow] if words in ALIKE else []) for words in MEANT]
)
def test_what_was_meant_is_named(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Words without dashes, options under the names of other programs, and those of network, data and callbacks."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main([*FIT.split(), *words.split()])
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2
    assert line.startswith(f"stratoscope: {MEANT[words]}")


SHORT = '{"class_path": "LinearProbes", "init_args": {"taps": "all"}}'
LISTS = [
    f'--trainer.callbacks=[{SHORT}, {{"class_path": "OnlineProbes"}}]',
    f'--trainer.callbacks=[{SHORT},{{"class_path":"OnlineProbes"}}]'.replace(": ", ":"),
    "--trainer.callbacks=[{class_path: LinearProbes, init_args: {taps: all}}, OnlineProbes]",
]


@pytest.mark.parametrize("word", LISTS)
def test_lists_of_classes_may_be_given_as_json(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one word, with short names of ours, with and without spaces."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--model", "MLP", "--data", "Digits", word, "--print_config"])
    assert not stop.value.code
    callbacks = yaml.safe_load(capsys.readouterr().out)["trainer"]["callbacks"]
    assert [one["class_path"].rpartition(".")[2] for one in callbacks] == ["LinearProbes", "OnlineProbes"]
    assert callbacks[0]["init_args"]["taps"] == "all"


@pytest.mark.parametrize(
    "word",
    [
        "--trainer.callbacks=[{class_path:LinearProbes},{class_path:OnlineProbes}]",  # as a shell leaves it
        '--trainer.callbacks=[{"class_path":"LinearProbes","taps":"all"}]',
        '--trainer.callbacks=[{"LinearProbes": {"taps": "all"}}]',
    ],
)
def test_other_lists_are_told_how_they_are_written(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, with nothing written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--model", "MLP", "--data", "Digits", word])
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2
    assert line.endswith(WRITTEN)
    assert not list(tmp_path.iterdir())


KEYS = {
    "lr: 0.1": "unknown option lr; did you mean model.optimizer.lr?",
    "epochs: 3": "unknown option epochs; did you mean trainer.max_epochs?",
    "trainer: {max_epoch: 3}": "unknown option trainer.max_epoch; did you mean trainer.max_epochs?",
}


@pytest.mark.parametrize("key", KEYS)
def test_so_are_keys_of_a_config(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By their names in the file."""
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(f"model: MLP\ndata: Digits\n{key}\n")
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", "c.yaml"])
    assert stop.value.code == 2
    assert KEYS[key] in capsys.readouterr().err


ANCHORED = """\
x-common: &common {max_epochs: 1, accelerator: cpu}
x-list: [&small {class_path: MLP, init_args: {width: 8}}]
model: *small
data: Digits
trainer:
  <<: *common
  limit_train_batches: 1
"""


def test_keys_for_anchors_mean_nothing_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keys at the top of a config that begin with x- hold what others repeat; numbers stay numbers."""
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(ANCHORED)
    Path("d.yaml").write_text("x-lr: &lr 1e-3\nmodel:\n  init_args:\n    optimizer: {init_args: {lr: *lr}}\n")
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", "c.yaml", "--config", "d.yaml", "--print_config"])
    assert not stop.value.code
    printed = capsys.readouterr().out
    assert "x-" not in printed
    for part in ("max_epochs: 1\n", "width: 8\n", "limit_train_batches: 1\n", "lr: 0.001\n", "accelerator: cpu\n"):
        assert part in printed


@pytest.mark.parametrize("text", ["common: &c {width: 8}\nmodel: MLP\n", "model: MLP\ntrainer: {x-common: &c 1}\n"])
def test_other_unknown_keys_are_refused(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without x-, or deeper down."""
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(text)
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", "c.yaml", "--data", "Digits"])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "unknown option" in line
    option, _, hint = line.partition("; did you mean ")
    assert hint.rstrip("?") not in option
