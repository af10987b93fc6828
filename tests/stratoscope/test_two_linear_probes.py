"""Two LinearProbes in one run: each has files, metrics, a state and rows of its own; the unnamed one is as ever."""

from pathlib import Path

import pytest

from stratoscope import load_runs
from stratoscope.commands.table import main
from stratoscope.fit.wandb_mirror import summary
from stratoscope.results.record import load_run
from stratoscope.results.summary import summary as shown
from stratoscope.run.checkpoint import load_checkpoint

FIT = (
    "fit --model MLP --model.width 4 --data Digits --data.corruption RandomSubset --data.corruption.n 60 "
    "--trainer.accelerator cpu --trainer.enable_progress_bar false --trainer.max_epochs 1 --threads 1 "
    "--trainer.callbacks LinearProbes --trainer.callbacks.taps *relu1 --trainer.callbacks.measures [rank]"
)
DEEP = (
    "--trainer.callbacks+ LinearProbes --trainer.callbacks.name deep --trainer.callbacks.taps *logits "
    "--trainer.callbacks.ridge 0.1 --trainer.callbacks.measures [rank]"
)


@pytest.fixture(autouse=True)
def _in_empty_folder(no_pictures: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", "WANDB_API_KEY", "WANDB_MODE", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)


def test_each_of_two_has_what_is_its_own() -> None:
    """And all that the unnamed one leaves is, to the byte, what it leaves alone."""
    main([*FIT.split(), "--run", "one"])
    main([*FIT.split(), *DEEP.split(), "--run", "two"])
    one, two = Path("runs/one"), Path("runs/two")
    for file in ("probes.csv", "measures.csv"):
        assert (one / file).read_bytes() == (two / file).read_bytes()
    assert {file.name for file in two.iterdir()} - {file.name for file in one.iterdir()} == {
        "probes_deep.csv",
        "measures_deep.csv",
        "separability_deep.png",
        "measures_deep.png",
    }
    record = load_run(two)
    probes, measures = (record.tables[name].rows for name in ("probes_deep", "measures_deep"))
    assert {(row["layer"], row["ridge"]) for row in probes} == {("network.logits", 0.1)}
    assert {row["layer"] for row in record.tables["probes"].rows} == {"network.relu1"}
    assert measures
    assert {name for name in record.metric_names if name.startswith("probe/deep/")} == {
        f"probe/deep/true_label/{split}/network.logits" for split in ("train", "test")
    }
    keys = load_checkpoint(str(two / "checkpoints" / "last.ckpt"))["callbacks"]
    assert {"LinearProbes", "LinearProbes[deep]"} <= set(keys)
    assert record.settings["trainer.callbacks.LinearProbes-2.ridge"] == 0.1
    told = summary(record)
    assert told["separability/true_label/test/layer"] == "network.relu1"
    assert told["separability_deep/true_label/test/layer"] == "network.logits"
    assert len(shown(record)) == len(shown(load_run(one))) + 4  # two tables more, and the lines below them

    frame = load_runs("runs")
    deep = frame[frame["source"] == "probes_deep"]
    assert set(deep["run"]) == {"two"}
    assert set(deep["layer"]) == {"network.logits"}
    assert set(frame[frame["source"] == "measures_deep"]["name"]) == {"effective_rank", "participation_ratio"}
    metrics = frame[frame["source"] == "metrics"]
    assert not any(name.startswith("probe/") for name in metrics["name"])
