"""Tests of stratoscope/run/processes.py: a run of one process is the first, whatever launchers have left behind."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_only

from stratoscope import __main__ as command
from stratoscope.commands.table import main
from stratoscope.dependencies import RANKS
from stratoscope.run.processes import asks_for_one
from tests.forked_runs import finish, forked, said

FIT = (
    "fit --model MLP --model.width 8 --model.inputs 192 --data Shapes --data.size 8 --data.train_size 64 "
    "--data.test_size 20 --trainer.accelerator cpu --threads 1 --trainer.max_epochs 1"
)
PAIR = f"{FIT} --trainer.devices 2 --trainer.strategy ddp --run r"


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (*RANKS, "STRATOSCOPE_RUN", "PL_GLOBAL_SEED", "MASTER_PORT", "SLURM_NTASKS", "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)


LEFT = {
    "RANK=1": {"RANK": "1"},
    "LOCAL_RANK=2": {"LOCAL_RANK": "2", "WORLD_SIZE": "4", "STRATOSCOPE_RUN": "another"},
    "SLURM_PROCID=3": {"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_NODEID": "1", "SLURM_LOCALID": "3"},
    "RANK=1, LOCAL_RANK=1": {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "x"},
}


@pytest.mark.parametrize("rank", LEFT)
def test_variables_that_were_left_mean_nothing(rank: str) -> None:
    """The run is whole, says all that it would have said, and that it passed over the variable."""

    def child() -> None:
        rank_zero_only.rank = 1  # type: ignore[attr-defined]  # as Lightning reads it when it is imported
        main(FIT.split())

    assert finish(forked(child, LEFT[rank])) == 0, said()
    (run,) = Path("runs").iterdir()
    assert run.name != "another"
    assert json.loads((run / "run.json").read_text())["status"] == "finished"
    assert all((run / name).is_file() for name in ("config.yaml", "metrics.csv", "checkpoints/last.ckpt"))
    lines = said().splitlines()
    assert f"{rank} in the environment is ignored: this run has one process" in lines
    assert lines[-1] == f"done: {run}"


def test_a_strategy_of_several_with_one_process_is_alone_too() -> None:
    """It connects to nobody at the address that was left, and starts nobody."""
    left = {"LOCAL_RANK": "1", "NODE_RANK": "3", "MASTER_ADDR": "192.0.2.1", "MASTER_PORT": "1"}
    line = f"{FIT} --trainer.devices 1 --trainer.strategy ddp --run r"
    assert finish(forked(lambda: main(line.split()), left)) == 0, said()
    assert json.loads(Path("runs/r/run.json").read_text())["status"] == "finished"


HALF = [
    ({"LOCAL_RANK": "1"}, "LOCAL_RANK is 1 in the environment"),
    ({"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}, "SLURM_NTASKS is in the environment"),
    (
        {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "4"},
        "--trainer.devices x --trainer.num_nodes is 2, but there are 4 processes (WORLD_SIZE in the environment)",
    ),
]


@pytest.mark.parametrize(("left", "part"), HALF)
def test_several_processes_in_half_an_environment_are_refused(left: dict[str, str], part: str) -> None:
    """They would wait for each other for ever; the variable is named."""
    assert finish(forked(lambda: main(PAIR.split()), left)) == 2, said()
    (line,) = [line for line in said().splitlines() if line.startswith("stratoscope: ")]
    assert part in line
    assert not Path("runs").exists()


@pytest.mark.parametrize("value", ["abc", "", "-1"])
def test_a_rank_that_is_no_number_is_named(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before Lightning is imported, which fails then."""
    monkeypatch.setenv("LOCAL_RANK", value)
    monkeypatch.setattr("sys.argv", ["stratoscope", *FIT.split()])
    with pytest.raises(SystemExit) as stop:
        command.main()
    assert stop.value.code == 2
    assert f"LOCAL_RANK={value} in the environment must be a whole number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "alone"),
    [
        ({}, True),
        ({"devices": "1"}, True),
        ({"devices": 1}, True),
        ({"devices": [3]}, True),
        ({"devices": "2,"}, True),
        ({"devices": "2"}, False),
        ({"devices": [0, 1]}, False),
        ({"devices": "0,1"}, False),
        ({"num_nodes": 2}, False),
        ({"devices": "1", "num_nodes": 2}, False),
    ],
)
def test_options_say_how_many_processes_there_will_be(options: dict[str, Any], alone: bool) -> None:
    """On a CPU, where `auto` is one."""
    given = {"accelerator": "cpu", "devices": "auto", "num_nodes": 1, **options}
    assert asks_for_one(Namespace(**given)) == alone  # type: ignore[no-untyped-call]


def test_auto_is_every_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are several, there are several processes."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    given = Namespace(accelerator="auto", devices="auto", num_nodes=1)  # type: ignore[no-untyped-call]
    for count, alone in ((1, True), (4, False)):
        monkeypatch.setattr(torch.accelerator, "device_count", lambda count=count: count)
        assert asks_for_one(given) == alone


def test_the_name_for_others_is_gone_after_the_run() -> None:
    """Else what this process starts later would write into it."""

    def child() -> None:
        main([*FIT.split(), "--run", "r"])
        assert "STRATOSCOPE_RUN" not in os.environ
        os.kill(os.getpid(), signal.SIGKILL)

    assert finish(forked(child)) == -signal.SIGKILL, said()
