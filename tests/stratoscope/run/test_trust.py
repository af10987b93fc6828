"""Tests of stratoscope/run/trust.py: what files from elsewhere may decide."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from stratoscope.commands.table import main
from stratoscope.errors import Refused
from stratoscope.fit.arguments import with_checkpoint_config
from stratoscope.run.trust import check_run, of_checkpoint

SMALL = (
    "--model MLP --model.width 4 --data Digits --data.corruption RandomSubset --data.corruption.n 64 --threads 1 "
    "--trainer.accelerator cpu --trainer.max_epochs 1 --trainer.enable_progress_bar false"
)
PROBED = (
    f"{SMALL} --trainer.callbacks LinearProbes --trainer.callbacks.epochs [1] --trainer.callbacks.taps *relu* "
    "--trainer.callbacks.tolerance 0.1"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose checkpoint others are made of."""
    runs = tmp_path_factory.mktemp("trained")
    main([*f"fit {PROBED} --run one".split(), "--runs", str(runs)])
    return runs / "one"


@pytest.fixture(autouse=True)
def _in_empty_folder(no_pictures: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("STRATOSCOPE_RUN", raising=False)


def changed(trained: Path, change: Callable[[dict[str, Any]], object]) -> str:
    """A checkpoint with another config."""
    checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    change(checkpoint["stratoscope_config"])
    torch.save(checkpoint, "x.ckpt")
    return "x.ckpt"


def refused(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command is refused with; nothing is written."""
    before = sorted(Path().rglob("*"))
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(line.split())
    assert stop.value.code == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert sorted(Path().rglob("*")) == before
    return said[0]


def put(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change of one value."""

    def change(config: dict[str, Any]) -> None:
        for name in path[:-1]:
            config = config[name]
        config[path[-1]] = value

    return change


SPY = {"class_path": "spy.Spy", "init_args": {}}
MODEL = [
    put("model", "class_path", value="spy.Spy"),
    put("model", "init_args", "optimizer", "class_path", value="spy.Spy"),
    put("model", "init_args", "optimizer", value="spy.Spy"),
    put("model", "init_args", "optimizer", value="spy.yaml"),
    put("model", "init_args", "scheduler", value="spy.Spy"),
    put("model", "init_args", "scheduler", "init_args", "lr_lambda", value="spy.Spy"),
    put("model", "dict_kwargs", value={"network": SPY}),
    put("model", value="spy.yaml"),
    put("model", value="class_path: spy.Spy\ninit_args: {width: 8}"),
    put("model", value={"init_args": {"width": 8}}),
    put("model", "init_args", "optimizer", value="{class_path: spy.Spy}"),
    put("model", "init_args", "optimizer", value="'spy.Spy'"),
    put("model", "init_args", "optimizer", value="!!python/name:spy.Spy"),
    put("model", "init_args", "optimizer", value="strange.yaml"),
    put("model", "init_args", "optimizer.class_path", value="Spy"),
    put("model", "init_args", "optimizer", "class_path", value="stratoscope.fit.command.WandbLogger"),
    put("model", "init_args", "scheduler", "init_args", "lr_lambda", value="stratoscope.fit.command.os.system"),
    put("model", "init_args", "scheduler", value="stratoscope.fit.command.os.system"),
    put("data", value=SPY),
    put("data", value='{"class_path": "stratoscope.datamodules.CIFAR10", "init_args": {"download": true}}'),
    put("data", "init_args", "corruption", value=[SPY]),
    put("data", "init_args", "augmentation", value={"class_path": "os.system", "init_args": {"command": "true"}}),
    put("data", "init_args", value=["spy.Spy"]),
]


@pytest.mark.parametrize("change", MODEL)
def test_a_checkpoint_names_no_class_of_its_own(
    change: Callable[[dict[str, Any]], None], trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever it stands in model or data: nothing is imported, nothing written, and the line says what helps."""
    Path("spy.py").write_text("raise SystemExit('imported')\n")
    for name in ("spy", "strange"):  # a package, and none
        Path(f"{name}.yaml").write_text(yaml.safe_dump(SPY))
    sys.path.insert(0, str(Path.cwd()))
    try:
        said = refused(f"validate --ckpt_path {changed(trained, change)} --run two", capsys)
    finally:
        sys.path.remove(str(Path.cwd()))
    assert "spy" not in sys.modules
    assert "--trust" in said or "without arguments" in said


@pytest.mark.parametrize("command", ["validate", "fit"])
def test_nothing_else_of_a_trainer_is_taken(command: str, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Callbacks, loggers, profilers and plugins of a file write nothing: they are left out and named."""

    def change(config: dict[str, Any]) -> None:
        out = str(Path("out").absolute())
        trainer = config["trainer"]
        trainer["callbacks"] += [
            {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": {"dirpath": out}},
            {"class_path": "spy.Spy"},
            {"class_path": "stratoscope.callbacks.LinearProbes", "init_args": {"forward": "os.system"}},
        ]
        trainer["logger"] = [{"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": out}}]
        trainer["profiler"] = {
            "class_path": "lightning.pytorch.profilers.SimpleProfiler",
            "init_args": {"dirpath": out},
        }
        trainer["plugins"] = ["spy.Spy"]
        trainer["strategy"] = {"class_path": "spy.Spy"}
        trainer["default_root_dir"] = out
        trainer["max_epochs"], trainer["precision"] = 2, "bf16-mixed"

    main([command, "--ckpt_path", changed(trained, change), "--run", "two"])
    said = capsys.readouterr().out
    assert "not taken from x.ckpt: " in said
    names = ["ModelCheckpoint", "spy.Spy", "SimpleProfiler", "trainer.plugins", "trainer.strategy"]
    for name in [*names, *(["CSVLogger"] if command == "fit" else [])]:  # others open the loggers they are asked for
        assert name in said.split("not taken from x.ckpt: ")[1].splitlines()[0]
    assert not Path("out").exists()
    config = yaml.safe_load(Path("runs/two/config.yaml").read_text())
    assert (config["trainer"]["precision"], config["trainer"]["max_epochs"]) == ("bf16-mixed", 2)
    kept = [one["class_path"] for one in config["trainer"]["callbacks"]]
    assert kept == ["stratoscope.callbacks.LinearProbes"]
    assert Path("runs/two/probes.csv").exists() == (command == "validate")  # epoch 2 is not asked for


def test_trust_takes_all(trained: Path) -> None:
    """With --trust a file's own classes, callbacks and loggers are used."""

    def change(config: dict[str, Any]) -> None:
        config["trainer"]["logger"] = [
            {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "out"}}
        ]

    main(["fit", "--ckpt_path", changed(trained, change), "--trainer.max_epochs", "2", "--run", "two", "--trust"])
    assert list(Path("out").rglob("metrics.csv"))


def test_a_class_on_the_command_line_is_the_users() -> None:
    """Named there it is taken from the file too, with its arguments looked at."""
    own = {"class_path": "mine.Net", "init_args": {"width": 3}}
    taken, left_out = of_checkpoint({"model": own, "trainer": {}}, "x.ckpt", {"--model", "mine.Net"})
    assert (taken["model"], left_out) == (own, [])
    with pytest.raises(Refused, match=r"--model mine\.Net"):
        of_checkpoint({"model": own, "trainer": {}}, "x.ckpt", {"--model"})
    inner = {"class_path": "mine.Net", "init_args": {"then": "os.system"}}
    with pytest.raises(Refused, match=r"os\.system"):
        of_checkpoint({"model": inner, "trainer": {}}, "x.ckpt", {"mine.Net"})


def test_a_class_in_a_config_file_that_is_given_is_the_users(trained: Path) -> None:
    """In a file, or in a text in its place."""
    checkpoint = changed(trained, put("model", "class_path", value="mine.Net"))
    Path("mine.yaml").write_text("model:\n  class_path: mine.Net\n")
    for given in (
        ["--config", "mine.yaml"],
        ["--model={class_path: mine.Net}"],
        ["-c", "model: {class_path: mine.Net}"],
    ):
        words, _ = with_checkpoint_config(["validate", *given, "--ckpt_path", checkpoint], trusted=False)
        assert yaml.safe_load(words[2])["model"]["class_path"] == "mine.Net"
    with pytest.raises(Refused, match="--trust"):
        with_checkpoint_config(["validate", "--ckpt_path", checkpoint], trusted=False)


def test_data_of_a_checkpoint_are_not_downloaded() -> None:
    """Nothing is fetched into a folder that a file names, wherever the option stands."""
    given = {"root": "/somewhere", "download": True}
    for kind in ("init_args", "dict_kwargs"):
        data = {"class_path": "stratoscope.datamodules.CIFAR10", kind: given}
        taken, _ = of_checkpoint({"data": data}, "x.ckpt", ())
        assert taken["data"][kind] == {"root": "/somewhere", "download": False}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("callbacks", {"class_path": "stratoscope.callbacks.guards.exact_resume.ModelCheckpoint"}),
        ("callbacks", {"class_path": "stratoscope.run.checkpoint.LastCheckpoint"}),
        ("callbacks", "class_path: lightning.pytorch.callbacks.ModelCheckpoint"),
        ("callbacks+", "ModelCheckpoint"),
        ("logger.class_path", "CSVLogger"),
        ("strategy", "class_path: spy.Spy"),
    ],
)
def test_only_instruments_by_their_own_names_are_taken(name: str, value: Any) -> None:
    """What a module of ours has imported is not ours, and no way of writing an option leads around that."""
    taken, left_out = of_checkpoint({"trainer": {name: value, "max_epochs": 1}}, "x.ckpt", ())
    assert taken["trainer"] == {"max_epochs": 1}
    assert len(left_out) == 1


def test_instruments_and_functions_by_their_own_names_are_taken() -> None:
    """By any module of ours that has them; a function where one is expected."""
    probes = {"class_path": "stratoscope.callbacks.instruments.linear_probes.LinearProbes", "init_args": {}}
    schedule = {
        "class_path": "torch.optim.lr_scheduler.LambdaLR",
        "init_args": {"lr_lambda": "torch.nn.functional.relu"},
    }
    model = {"class_path": "stratoscope.models.MLP", "init_args": {"scheduler": schedule}}
    config = {"model": model, "trainer": {"callbacks": [probes]}}
    assert of_checkpoint(config, "x.ckpt", ()) == (config, [])


DAMAGED: list[Any] = [
    "text",
    [],
    {"trainer": [1]},
    {"trainer": {"callbacks": 3}, "model": torch.zeros(1)},
    {"model": {"class_path": 3}},
    {"model": {"class_path": "stratoscope.models.MLP", "init_args": "x"}},
    {"model": {"class_path": "stratoscope.models.MLP", "run": "x"}},
]


@pytest.mark.parametrize("config", DAMAGED)
def test_a_config_that_is_none_is_refused(config: Any) -> None:
    """Whatever is in its place."""
    with pytest.raises(Refused, match="--ckpt_path"):
        of_checkpoint(config, "x.ckpt", ())


def test_plain_words_are_no_import_paths() -> None:
    """Names with dots that are texts anyway, or of nothing that could be imported, are taken."""
    probes = {"class_path": "stratoscope.callbacks.LinearProbes", "init_args": {}}
    probes["init_args"] = {"taps": ["os.path", "network.relu1"], "forward": "encoder.head", "batch": {"image": "os.x"}}
    model = {
        "class_path": "stratoscope.models.TorchvisionClassifier",
        "init_args": {"name": "os.path", "weights_file": "os.path", "optimizer": {"class_path": "torch.optim.SGD"}},
    }
    config = {"trainer": {"callbacks": [probes], "max_time": "00:01:00:00"}, "model": model}
    taken, left_out = of_checkpoint(config, "x.ckpt", ())
    assert (taken, left_out) == (config, [])


FOREIGN = [
    {"model": SPY},
    {"trainer": {"callbacks": [SPY]}},
    {"trainer": {"logger": {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "/tmp"}}}},
    {
        "trainer": {
            "logger": {
                "class_path": "lightning.pytorch.loggers.MLFlowLogger",
                "init_args": {"tracking_uri": "https://example.org"},
            }
        }
    },
    {
        "trainer": {
            "callbacks": {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": {"dirpath": "../x"}}
        }
    },
    {"trainer": {"profiler": "os.system"}},
    {"trainer": {"callbacks": {"class_path": "stratoscope.fit.command.os.system"}}},
    {"trainer": {"callbacks": "class_path: spy.Spy"}},
    {
        "trainer": {
            "logger": {
                "class_path": "lightning.pytorch.loggers.WandbLogger",
                "dict_kwargs": {"settings": {"root_dir": "/tmp"}},
            }
        }
    },
]


@pytest.mark.parametrize("config", FOREIGN)
def test_a_run_directory_of_somebody_is_not_gone_on_with(
    config: dict[str, Any], trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its config could do what a script can; of ours and Lightning's classes it goes on, and ours do with --trust."""
    with pytest.raises(Refused, match="--trust"):
        check_run(config, Path("runs/one"))
    shutil.copytree(trained, "runs/one")
    record = json.loads(Path("runs/one/run.json").read_text())
    whole = yaml.safe_load(Path("runs/one/config.yaml").read_text())
    check_run(whole, Path("runs/one"))
    Path("runs/one/run.json").write_text(json.dumps({**record, "status": "interrupted"}))
    with pytest.raises(Refused, match="--trust"):
        check_run({"model": "class_path: spy.Spy"}, Path("runs/one"))
    for part, value in config.items():
        whole[part] = {**whole[part], **value}
    Path("runs/one/config.yaml").write_text(yaml.safe_dump(whole))
    assert "--trust" in refused("resume runs/one", capsys)


@pytest.mark.parametrize("asked", [{"command": "rm"}, {"command": ["fit"]}, {"ckpt_path": 3}, [], "fit"])
def test_resume_of_a_strange_record_is_refused(asked: Any, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever it says was asked for."""
    shutil.copytree(trained, "runs/one")
    record = json.loads(Path("runs/one/run.json").read_text())
    Path("runs/one/run.json").write_text(json.dumps({**record, "status": "interrupted", "asked": asked}))
    assert "damaged" in refused("resume runs/one", capsys)
