"""Tests of W&B as a mirror: what is recorded, by offline runs and by a server, and what happens without one."""

import csv
import json
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml

from stratoscope.callbacks.instruments.wandb_server import PATIENCE
from stratoscope.commands.table import main
from stratoscope.fit.command import build
from stratoscope.results.flat_config import short_config
from tests.wandb_server import wandb_server

ROOT = Path(__file__).parents[2]
TINY = Path(__file__).parent / "experiments" / "tiny.yaml"
SMALL = "fit --model MLP --model.width 8 --data Digits --trainer.accelerator cpu --trainer.enable_progress_bar false"
FIT = f"{SMALL} --trainer.max_epochs 2 --trainer.logger WandbLogger --run one"
PROBED = f"{FIT} --data.corruption RandomLabels --trainer.callbacks LinearProbes --trainer.callbacks.taps *relu*"
PROBED += " --trainer.callbacks.tolerance 0.01 --trainer.callbacks.train_samples 200"
WHOLE, END = 1, 4  # kinds of parts of records
BLOCK = 32768


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """In a folder, without what W&B would find in the environment or at home."""
    import wandb

    wandb_sets = ["WANDB_MODE", "WANDB_PROJECT", "WANDB_API_KEY", "WANDB_FINISH_TIMEOUT", "WANDB_FINISH_TIMEOUT_RAISES"]
    wandb_sets += ["WANDB_INIT_TIMEOUT", "WANDB_RUN_ID"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("WANDB_SILENT", "true")
        for name in ("STRATOSCOPE_RUN", "PL_GLOBAL_SEED", *wandb_sets):
            patch.delenv(name, raising=False)
        wandb.teardown()  # it reads the environment once
        yield
        wandb.teardown()


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path) -> Iterator[None]:
    with alone(tmp_path):
        yield


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a probed run on a machine without a key, and what it has said."""
    folder, said = tmp_path_factory.mktemp("offline"), StringIO()
    with alone(folder), redirect_stdout(said):
        main(PROBED.split())
    return folder, said.getvalue()


def records(run: str = "one", runs: str = "runs", folder: str = "*run") -> list[Any]:
    """What W&B recorded of a run, in order.

    The file is a LevelDB log after a header of 7 bytes: blocks of 32 KiB, in them parts of records, each after its
    checksum, length and kind.
    """
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # it is made at run time

    wandb.teardown()  # its own process writes on after a run has ended
    (file,) = Path(runs, run, "wandb").glob(f"{folder}-*/*.wandb")
    data, at, record, found = file.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        if (room := BLOCK - at % BLOCK) < 7:
            at += room
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in {WHOLE, END}:
            found.append(Record.FromString(record))
            record = b""
    return found


def items(updates: Any) -> dict[str, Any]:
    """Keys and values of a record."""
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in updates}


def only(kind: str, found: list[Any]) -> list[Any]:
    """The records of one kind."""
    return [getattr(record, kind) for record in found if record.WhichOneof("record_type") == kind]


def merged(kind: str, found: list[Any]) -> dict[str, Any]:
    """What the updates of one kind come to."""
    return {name: value for update in only(kind, found) for name, value in items(update.update).items()}


def table(file: str) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with Path(file).open(newline="") as text:
        return list(csv.DictReader(text))


def same(cell: str, value: Any) -> bool:
    """Whether a cell of a CSV file says what a value is."""
    if value is None or isinstance(value, str | bool):
        return cell == ("" if value is None else str(value))
    return float(cell) == float(value)


def test_wandb_mirrors_the_record_offline(offline: tuple[Path, str]) -> None:
    """Without a key W&B writes offline into the run directory and says in one line how to sync."""
    folder, said = offline
    assert "wandb sync runs/one/wandb/offline-run-*" in said
    (written,) = (folder / "runs" / "one" / "wandb").glob("offline-run-*")
    assert list(written.glob("*.wandb"))
    assert list(written.rglob("separability*.png"))


def test_wandb_sees_one_run_however_often_it_is_interrupted(offline: tuple[Path, str]) -> None:
    """The offline folders of all parts carry the same id, so that `wandb sync` puts them together."""
    shutil.copytree(offline[0] / "runs", "runs")
    record = json.loads(Path("runs/one/run.json").read_text())
    Path("runs/one/run.json").write_text(json.dumps({**record, "status": "running"}))  # as if it had been killed
    main(PROBED.split())
    folders = [folder.name for folder in Path("runs/one/wandb").glob("offline-run-*")]
    assert len(folders) == 2
    assert len({name.rpartition("-")[2] for name in folders}) == 1


def test_the_offline_record_is_that_of_the_run_directory(
    offline: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every number of metrics.csv and probes.csv, over the epoch; the table; the summary; tags, config and end."""
    monkeypatch.chdir(offline[0])
    found = records()
    metrics, probes = table("runs/one/metrics.csv"), table("runs/one/probes.csv")

    rows = [items(history.item) for history in only("history", found)]
    assert all("epoch" in row for row in rows)
    seen = {(name, int(float(row["epoch"]))): value for row in rows for name, value in row.items()}
    numbers = {
        (name, int(float(row["epoch"]))): cell
        for row in metrics
        for name, cell in row.items()
        if cell and name != "epoch"
    }
    assert len(numbers) > 20
    for (name, epoch), cell in numbers.items():
        assert same(cell, seen["trainer/global_step" if name == "step" else name, epoch]), (name, epoch)
    for row in (row for row in probes if row["chosen"] == "True"):
        name = f"probe/{row['labels']}/{row['split']}/{row['layer']}"
        assert same(row["accuracy"], seen[name, int(float(row["epoch"]))])
    axis = [metric for metric in only("metric", found) if metric.glob_name == "*"][-1]
    assert (axis.step_metric, axis.options.step_sync) == ("epoch", True)

    pictures = [row["separability/filenames"] for row in rows if "separability/filenames" in row]
    assert pictures  # that of the end, at least
    files = next(Path("runs/one/wandb").glob("offline-run-*")) / "files"
    assert all((files / name).is_file() for names in pictures for name in names)
    (path,) = [row["probes/path"] for row in rows if "probes/path" in row]
    written = json.loads((files / path).read_text())
    assert written["columns"] == list(probes[0])
    assert len(written["data"]) == len(probes)
    for values, row in zip(written["data"], probes, strict=True):
        assert all(same(cell, value) for cell, value in zip(row.values(), values, strict=True)), row

    summary = merged("summary", found)
    for name in ("train/accuracy", "test/accuracy", "train/loss", "test/loss"):
        by_epoch = {int(float(row["epoch"])): float(row[name]) for row in metrics if row[name]}
        best = max(by_epoch.values()) if name.endswith("accuracy") else min(by_epoch.values())
        assert (summary[f"final/{name}"], summary[f"best/{name}"]) == (by_epoch[2], best)
        assert by_epoch[summary[f"best/{name}/epoch"]] == best
    for kind, split in (("true_label", "test"), ("given_label", "train")):
        last = [row for row in probes if (row["labels"], row["split"], row["epoch"]) == (kind, split, "2")]
        assert summary[f"separability/{kind}/{split}"] == max(float(row["accuracy"]) for row in last)
        assert summary[f"separability/{kind}/{split}/layer"] == "network.relu1"

    (run,) = only("run", found)
    assert (run.project, run.display_name, list(run.tags)) == ("stratoscope", "one", ["MLP", "RandomLabels"])
    config = merged("config", found)
    assert (config["model.width"], config["data.corruption"], config["seed_everything"]) == (8, "RandomLabels", 0)
    assert [end.exit_code for end in only("exit", found)] == [0]


@pytest.mark.slow
def test_the_runs_of_an_experiment_are_one_group() -> None:
    """Named after the experiment and its scale; network and corruptions are tags."""
    for task in ("0", "2"):
        with pytest.raises(SystemExit) as stop:
            main(["reproduce", str(TINY), "--wandb", "--task", task])
        assert not stop.value.code
    found = {path.name: only("run", records(path.name, str(path.parent)))[0] for path in Path("runs").glob("*/full/*")}
    assert {name: list(run.tags) for name, run in found.items()} == {
        "1__true__0": ["MLP", "uncorrupted"],
        "1__0.5__0": ["MLP", "PartialLabels"],
    }
    assert {run.job_type for run in found.values()} == {"full"}
    (group,) = {run.run_group for run in found.values()}
    assert group.endswith("tiny/full")


@pytest.mark.slow
def test_what_the_user_gave_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tags, group and project, as options or in the environment."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_PROJECT", "ours")
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "99")
    main([*FIT.split(), "--trainer.logger.tags", "[mine]", "--trainer.logger.group", "all of them"])
    (run,) = only("run", records())
    assert (run.project, list(run.tags), run.run_group) == ("ours", ["mine"], "all of them")
    import wandb

    assert wandb.setup().settings.finish_timeout == 99


@pytest.mark.slow
def test_a_failed_run_is_a_failed_run_there() -> None:
    """W&B's run ends with the code of the process."""
    with pytest.raises(SystemExit) as stop:
        main([*FIT.split(), "--model.optimizer", "SGD", "--model.optimizer.lr", "1e30"])
    assert stop.value.code == 1
    assert [end.exit_code for end in only("exit", records())] == [1]


def test_a_server_gets_what_is_recorded(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """All of the history before the command ends, each row with its epoch; nothing is left to be synced."""
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    with wandb_server() as (server, address):
        monkeypatch.setenv("WANDB_BASE_URL", address)
        main(FIT.split())
    assert "wandb sync" not in capfd.readouterr().out
    told = {int(float(row["epoch"])): row["test/accuracy"] for row in server.history if "test/accuracy" in row}
    assert told == {int(float(row["epoch"])): float(row["test/accuracy"]) for row in table("runs/one/metrics.csv")}
    assert [query for query in server.queries if "upsertBucket" in query]
    assert [name for name in server.uploads if name.endswith("wandb-summary.json")]


@pytest.mark.slow
def test_a_server_that_falls_silent_holds_up_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The run goes on and finishes; the rest is given up after some seconds, kept, and the user is told how to sync."""
    import wandb

    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    with wandb_server(silent_after="upsertBucket") as (server, address):
        monkeypatch.setenv("WANDB_BASE_URL", address)
        with pytest.warns(UserWarning, match="WandbLogger has not taken the table probes: .*; it is in .*one/probes"):
            main(PROBED.split())
        assert 0 < wandb.setup().settings.finish_timeout + PATIENCE < 10
    assert json.loads(Path("runs/one/run.json").read_text())["status"] == "finished"
    assert (len(table("runs/one/metrics.csv")), len(table("runs/one/probes.csv"))) == (3, 12)
    assert server.history == []
    (folder,) = Path("runs/one/wandb").glob("run-*")
    assert f"W&B has not taken everything; later: wandb sync {folder}" in capfd.readouterr().out
    kept = [items(history.item) for history in only("history", records())]
    assert {row["epoch"] for row in kept if "test/accuracy" in row} == {1, 2}


def test_a_server_that_does_not_begin_a_run_makes_it_offline(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It answers at first, then not; after some seconds the run is recorded offline, and the user is told."""
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    with wandb_server(silent_at="UpsertBucket") as (server, address):
        monkeypatch.setenv("WANDB_BASE_URL", address)
        main(FIT.split())
    assert server.history == []
    said = capfd.readouterr().out
    assert f"W&B has no run at {address} (" in said
    assert "and writes offline; later: wandb sync runs/one/wandb/offline-run-*" in said
    rows = [items(history.item) for history in only("history", records(folder="offline-run"))]
    assert {row["epoch"] for row in rows if "test/accuracy" in row} == {1, 2}


def values_of(parameter: dict[str, Any]) -> list[Any]:
    """Values a sweep may give a parameter; of a range its ends."""
    if "value" in parameter:
        return [parameter["value"]]
    found: list[Any] = parameter.get("values") or [parameter["min"], parameter["max"]]
    return found


def test_the_sweep_is_a_command_line() -> None:
    """As W&B's agent makes it (wandb/wandb_agent.py), with every value of every parameter."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    sweep = yaml.safe_load((ROOT / "configs" / "sweep.yaml").read_text())
    values = {name: values_of(parameter) for name, parameter in sweep["parameters"].items()}
    for which in range(max(map(len, values.values()))):
        chosen = {name: found[which % len(found)] for name, found in values.items()}
        asked = create_sweep_command_args({"args": {name: {"value": value} for name, value in chosen.items()}})
        filled: dict[str, list[str]] = {**asked, "env": ["/usr/bin/env"], "program": [sweep["program"]]}
        words: list[str] = []
        for part in map(str, create_sweep_command(list(sweep["command"]))):
            words += filled[part[2:-1]] if part.startswith("${") and part.endswith("}") else [part]
        assert words[:3] == ["/usr/bin/env", "stratoscope", "fit"]
        config = short_config(build([*words[2:], "--trainer.accelerator", "cpu"]).record)
        assert {name: config[name] for name in chosen} == chosen
    assert not Path("runs").exists()
