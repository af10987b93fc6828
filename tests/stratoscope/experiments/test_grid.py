"""Tests of stratoscope/experiments/grid.py."""

from pathlib import Path
from typing import Any

import pytest

from stratoscope.errors import Refused
from stratoscope.experiments.experiment_file import read_experiment
from stratoscope.experiments.grid import PlannedRun, planned_runs
from tests.small_experiments import TINY, written

AXES: dict[str, Any] = {
    "network": {"MLP": {"model": "MLP"}, "small one": {"model": "SmallAlexNet"}},
    "labels": {"true": {}, "random": {"data.corruption": ["RandomLabels"]}},
    "seed": {0: {}, 1: {"seed_everything": 1}},
}
ALL = {axis: "all" for axis in AXES}


def plan(folder: Path, scale: str = "full", **changes: Any) -> list[PlannedRun]:
    """The plan of an experiment with these axes, or other parts."""
    file = written(folder / "my", **{"options": {}, "axes": AXES, "runs": [ALL], **changes})
    return planned_runs(read_experiment(str(file)), scale, "runs")


def by_name(runs: list[PlannedRun]) -> dict[str, PlannedRun]:
    """Runs by their names."""
    return {run.name: run for run in runs}


def test_every_combination_is_there_once(tmp_path: Path) -> None:
    """All labels of all axes, the last axis fastest, each run with the options of its labels."""
    runs = plan(tmp_path)
    wanted = [(network, labels, seed) for network in AXES["network"] for labels in AXES["labels"] for seed in (0, 1)]
    assert [tuple(run.labels.values()) for run in runs] == wanted
    assert [run.name for run in runs][:2] == ["MLP__true__0", "MLP__true__1"]
    run = by_name(runs)["small-one__random__1"]
    assert run.options == {"model": "SmallAlexNet", "data.corruption": ["RandomLabels"], "seed_everything": 1}
    assert run.path == Path("runs/my_small/full/small-one__random__1")
    assert run.cell == (("network", "small one"), ("labels", "random"))
    words = ["fit", "--model", "SmallAlexNet", "--data.corruption", '["RandomLabels"]', "--seed_everything", "1"]
    assert run.words("--threads", "1") == [
        *words, "--threads", "1", "--runs", "runs/my_small/full", "--run", "small-one__random__1",
    ]  # fmt: skip


def test_an_option_may_be_a_label(tmp_path: Path) -> None:
    """As it is, not as text, wherever a value may stand; so data can differ from seed to seed."""
    subset = {"class_path": "RandomSubset", "init_args": {"n": 5, "seed": "{label:seed}"}}
    runs = plan(tmp_path, options={"data.corruption": [subset], "seed_everything": "{label:seed}"})
    for run in runs:
        part = {"class_path": "RandomSubset", "init_args": {"n": 5, "seed": run.labels["seed"]}}
        if "data.corruption" not in AXES["labels"][run.labels["labels"]]:
            assert run.options["data.corruption"] == [part]
        assert run.options["seed_everything"] == run.labels["seed"]
    with pytest.raises(Refused, match=r"\{label:sed\}: no axis sed; did you mean seed\?"):
        plan(tmp_path, options={"seed_everything": "{label:sed}"})


def test_an_experiment_may_validate_instead(tmp_path: Path) -> None:
    """Its runs are of that command."""
    assert {run.words()[0] for run in plan(tmp_path, command="validate")} == {"validate"}


def test_a_published_number_is_about_one_group_of_runs(tmp_path: Path) -> None:
    """With a label of every axis but the seed's; otherwise it would stand beside any of them."""
    parts: dict[str, Any] = {"quantities": {"error": {"metric": "test/accuracy", "error": True}}}
    of = {"network": "MLP", "labels": "true"}
    known = {"quantity": "error", "value": 1, "tolerance": 1}
    plan(tmp_path, published=[{**known, "of": of}], **parts)
    parts["runs"] = [{"network": "MLP", "labels": "all", "seed": "all"}, {**ALL, "labels": "random"}]
    for few, groups in (({"network": "MLP"}, 2), ({}, 3), ({"network": "small one", "labels": "true"}, 0)):
        with pytest.raises(Refused, match=f"published: error of .* is about {groups} groups of runs, must be one"):
            plan(tmp_path, published=[{**known, "of": few}], **parts)


def test_blocks_that_overlap_give_one_run(tmp_path: Path) -> None:
    """In tiny.yaml the second block has one run of the first again, and in a third all of them."""
    runs = planned_runs(read_experiment(str(TINY)), "full", "runs")
    assert [run.name for run in runs].count("1__true__0") == 1
    assert len(runs) == 7
    assert len(plan(tmp_path, runs=[ALL, {**ALL, "seed": 0}, ALL])) == 8


def test_blocks_choose_labels(tmp_path: Path) -> None:
    """One, a list, or all."""
    blocks = [{"network": "MLP", "labels": "all", "seed": [0]}, {"network": "small one", "labels": ["true"], "seed": 1}]
    assert [run.name for run in plan(tmp_path, runs=blocks)] == ["MLP__true__0", "MLP__random__0", "small-one__true__1"]


def test_a_scale_leaves_some_labels_and_changes_options(tmp_path: Path) -> None:
    """`only` leaves labels, `options` are for all runs, `axes` for those of one label; the last one wins."""
    scale = {
        "note": "smaller",
        "only": {"seed": [0]},
        "options": {"trainer.max_epochs": 2, "data.batch_size": 8},
        "axes": {"network": {"MLP": {"model.width": 3, "trainer.max_epochs": 1}}, "labels": {"true": {}}},
    }
    runs = by_name(plan(tmp_path, "small", scales={"small": scale}, options={"trainer.max_epochs": 9}))
    assert list(runs) == ["MLP__true__0", "MLP__random__0", "small-one__true__0", "small-one__random__0"]
    assert {run.folder for run in runs.values()} == {Path("runs/my_small/small")}
    assert runs["MLP__true__0"].options == {
        "trainer.max_epochs": 1, "model": "MLP", "data.batch_size": 8, "model.width": 3,
    }  # fmt: skip
    assert runs["small-one__true__0"].options["trainer.max_epochs"] == 2
    whole = plan(tmp_path, scales={"small": scale}, options={"trainer.max_epochs": 9})
    assert {run.options["trainer.max_epochs"] for run in whole} == {9}


def test_a_plus_adds_to_a_list(tmp_path: Path) -> None:
    """To that of an option before, or to none; without the plus it is replaced. The file's lists stay as they were."""
    axes = {
        "labels": {"true": {}, "random": {"data.corruption": ["RandomLabels"]}},
        "images": {"own": {}, "noise": {"data.corruption+": "GaussianPixels"}, "edges": {"data.corruption": ["Edges"]}},
    }
    scale = {"note": "fewer", "options": {"data.corruption+": [{"class_path": "RandomSubset"}]}}
    runs = plan(tmp_path, "few", axes=axes, runs=[{"labels": "all", "images": "all"}], scales={"few": scale})
    subset = {"class_path": "RandomSubset"}
    assert [run.options["data.corruption"] for run in runs] == [
        [subset],
        ["GaussianPixels", subset],
        ["Edges", subset],
        ["RandomLabels", subset],
        ["RandomLabels", "GaussianPixels", subset],
        ["Edges", subset],
    ]


def staged(reference: str) -> dict[str, Any]:
    """Axes of which one label of `stage` starts from another run."""
    callback = {"class_path": "Pretrained", "init_args": {"checkpoint": f"{{run:{reference}}}/checkpoints/last.ckpt"}}
    return {"stage": {"second": {"trainer.callbacks": [callback]}, "first": {}}, "n": {10: {}, "all of it": {}}}


BOTH = [{"stage": "all", "n": "all"}]


def test_a_reference_is_the_directory_of_another_run(tmp_path: Path) -> None:
    """With the labels it names and this run's own otherwise; that run comes first."""
    runs = plan(tmp_path, axes=staged("stage=first"), runs=BOTH)
    assert [run.name for run in runs] == ["first__10", "first__all-of-it", "second__10", "second__all-of-it"]
    assert [run.needs for run in runs] == [(), (), ("first__10",), ("first__all-of-it",)]
    checkpoint = runs[3].options["trainer.callbacks"][0]["init_args"]["checkpoint"]
    assert checkpoint == "runs/my_small/full/first__all-of-it/checkpoints/last.ckpt"
    assert "first__all-of-it/checkpoints" in " ".join(runs[3].words())
    spaces = plan(tmp_path, axes=staged(" stage=first , n=all of it"), runs=BOTH)
    assert [run.needs for run in spaces[2:]] == [("first__all-of-it",)] * 2


def test_a_chain_of_references_is_in_order(tmp_path: Path) -> None:
    """However the labels stand in the file."""
    axes = {"stage": {3: {"a": "{run:stage=2}"}, 1: {}, 2: {"a": "{run:stage=1}"}}}
    assert [run.name for run in plan(tmp_path, axes=axes, runs=[{"stage": "all"}])] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("axes", "runs", "said"),
    [
        (staged("stage=first"), [{"stage": "second", "n": 10}], "second__10 starts from first__10, which is not in"),
        (staged("stage=frist"), BOTH, "starts from frist__10, which is not in the plan"),
        (staged("stag=first"), BOTH, r"\{run:stag=first\}: no axis stag; did you mean stage\?"),
        (staged("first"), BOTH, r"\{run:first\}: no axis first"),
        (staged(""), BOTH, "run second__10 starts, by way of second__10, from itself"),
        ({"stage": {1: {"a": "{run:stage=2}"}, 2: {"a": "{run:stage=1}"}}}, [{"stage": "all"}], "from itself"),
        ({"n": {"a b": {}, "a-b": {}}}, [{"n": "all"}], "a b and a-b would have one directory, a-b; change a label"),
        ({"n": {1: {}, 2: {}}}, [{"n": []}], "there are no runs at scale full"),
    ],
)
def test_plans_that_cannot_be_are_refused(axes: Any, runs: Any, said: str, tmp_path: Path) -> None:
    """References that lead nowhere or back, runs that would share a directory, no runs."""
    with pytest.raises(Refused, match=said):
        plan(tmp_path, axes=axes, runs=runs)
