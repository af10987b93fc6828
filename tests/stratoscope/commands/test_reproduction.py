"""Tests of stratoscope/commands/reproduction.py; how runs end, badly or not at all, is in test_launcher.py."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from stratoscope.commands.reproduce import reproduce
from stratoscope.commands.table import main
from stratoscope.errors import Refused
from stratoscope.experiments.grid import PlannedRun
from tests.forked_runs import fork_runs
from tests.small_experiments import OPTIONS, TINY, written

STAGES: dict[str, Any] = {"stage": {"first": {}, "second": {"a": "{run:stage=first}"}}, "seed": {0: {}, 1: {}}}


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STRATOSCOPE_RUN", "WANDB_API_KEY", "WANDB_MODE", "PL_GLOBAL_SEED"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines of runs, which are noted instead of run."""
    lines: list[list[str]] = []

    def note(words: list[str]) -> int:
        lines.append(words)
        return 0

    monkeypatch.setattr("stratoscope.commands.reproduction.run_command", note)
    return lines


def option(words: list[str], name: str) -> str:
    """The value of an option of a command line."""
    return words[words.index(name) + 1]


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It tries a few steps, and prints the plan, how long it may take, and the first command line."""
    file = written(tmp_path / "my")
    assert reproduce(["reproduce", str(file), "--runs", str(tmp_path / "runs"), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines() if line.startswith(("narrow", "wide"))] == [
        "narrow__0", "narrow__1", "wide__0", "wide__1",
    ]  # fmt: skip
    assert "4 runs in" in out
    assert "\nrepetitions differ in weights and dropout, order and augmentation of the samples, RandomSubset\n" in out
    assert "the first: stratoscope fit --data Digits" in out
    assert not (tmp_path / "runs").exists()


def test_the_plan_is_there_before_any_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows at once; each time as soon as it is found; then what they come to."""
    before: list[str] = []

    def found(runs: Sequence[PlannedRun], more: Sequence[str]) -> Iterator[tuple[str, float]]:
        for run in runs:
            before.append(capsys.readouterr().out)
            yield run.name, 90.0

    monkeypatch.setattr("stratoscope.commands.reproduction.expected_seconds", found)
    assert reproduce(["reproduce", str(written(tmp_path / "my")), "--jobs", "2", "--dry-run"]) == 0
    assert [line.split()[0] for line in before[0].splitlines() if line.startswith(("narrow", "wide"))] == [
        "narrow__0", "narrow__1", "wide__0", "wide__1",
    ]  # fmt: skip
    assert before[1:] == ["     1.5  narrow__0\n", "     1.5  narrow__1\n", "     1.5  wide__0\n"]
    assert capsys.readouterr().out == ("     1.5  wide__1\none after the other: about 6 min; 2 at a time: 3\n")


def test_a_plan_needs_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its times do, which a line says; what else would keep runs from beginning is refused."""
    assert reproduce(["reproduce", "zhang2017/figure1", "--data.root", str(tmp_path), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "36 runs in" in out
    assert out.splitlines()[-1].startswith(f"they need the data: no CIFAR-10 in {tmp_path}: ")
    with pytest.raises(Refused, match=r"trainer\.nothing"):
        reproduce(["reproduce", str(written(tmp_path / "my", options={**OPTIONS, "trainer.nothing": 1})), "--dry-run"])


def test_a_dry_run_shows_the_job_script_of_each_wave(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it would be submitted, and nothing is."""
    monkeypatch.setattr("stratoscope.commands.reproduction.expected_seconds", lambda runs, more: iter(()))
    file = str(written(tmp_path / "my", axes=STAGES, runs=[{"stage": "all", "seed": "all"}]))
    assert reproduce(["reproduce", file, "--slurm", "--dry-run"]) == 0
    out = capsys.readouterr().out
    scripts = out.split("\nwave")[1:]
    assert [script.splitlines()[0] for script in scripts] == ["0.sbatch:", "1.sbatch:"]
    for script, tasks in zip(scripts, ("0,1", "2,3"), strict=True):
        assert f"#SBATCH --array={tasks}%" in script
        assert f"reproduce {file} --scale full --runs runs --threads 1 --task $SLURM_ARRAY_TASK_ID" in script
    assert not Path("runs").exists()
    template = tmp_path / "mine"
    template.write_text("my $tasks")
    assert reproduce(["reproduce", file, "--slurm_template", str(template), "--dry-run"]) == 0
    assert "\nwave0.sbatch:\nmy 0,1%" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("only", "names"),
    [
        (["width=narrow"], ["narrow__0", "narrow__1"]),
        (["width=narrow", "seed=1"], ["narrow__1"]),
        (["seed=0,1"], ["narrow__0", "narrow__1", "wide__0", "wide__1"]),
    ],
)
def test_some_runs_are_chosen_by_their_labels(
    only: list[str], names: list[str], trained: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of one axis or several; a label is as it is typed."""
    choice = [word for one in only for word in ("--only", one)]
    for number in range(len(names)):
        reproduce(["reproduce", str(written(Path("my"))), *choice, "--task", str(number)])
    assert [option(words, "--run") for words in trained] == names
    with pytest.raises(Refused, match=f"--task {len(names)}: there are runs 0 to {len(names) - 1}"):
        reproduce(["reproduce", "my/small.yaml", *choice, "--task", str(len(names))])


def test_what_the_chosen_start_from_is_run_too(trained: list[list[str]]) -> None:
    """Of the same seed only; a run whose start has not finished is refused by its number."""
    file = str(written(Path("my"), axes=STAGES, runs=[{"stage": "all", "seed": "all"}]))
    words = ["reproduce", file, "--only", "stage=second", "--only", "seed=1", "--task"]
    assert reproduce([*words, "0"]) == 0
    assert [option(line, "--run") for line in trained] == ["first__1"]
    with pytest.raises(Refused, match=r"^--task 1: second__1 starts from first__1, which has not finished$"):
        reproduce([*words, "1"])


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("widht=narrow", "--only widht=narrow: no narrow; axes are width, seed"),
        ("width=narow", "--only width=narow: no narow; width has narrow, wide"),
        ("width", "--only width: no labels; width has narrow, wide"),
    ],
)
def test_labels_that_there_are_not_are_refused(choice: str, said: str) -> None:
    """With those there are."""
    with pytest.raises(Refused) as refusal:
        reproduce(["reproduce", str(written(Path("my"))), "--only", choice])
    assert str(refusal.value) == said
    assert not Path("runs").exists()


def test_a_choice_that_leaves_no_run_is_refused() -> None:
    """Labels that do not meet in any run."""
    runs = [{"width": "narrow", "seed": 0}, {"width": "wide", "seed": 1}]
    file = str(written(Path("my"), runs=runs))
    with pytest.raises(Refused, match=r"^reproduce: no run is left of 2$"):
        reproduce(["reproduce", file, "--only", "width=narrow", "--only", "seed=1"])


@pytest.mark.parametrize(("given", "threads"), [([], "1"), (["--threads", "2"], "2")])
def test_a_run_has_one_thread_unless_more_are_asked_for(
    given: list[str], threads: str, trained: list[list[str]]
) -> None:
    """Several at a time would wait for each other."""
    reproduce(["reproduce", str(written(Path("my"))), "--task", "0", *given])
    assert option(trained[0], "--threads") == threads
    assert trained[0].count("--threads") == 1


def test_runs_in_wandb_are_one_group(trained: list[list[str]]) -> None:
    """Of the experiment and its scale."""
    reproduce(["reproduce", str(TINY), "--scale", "half", "--wandb", "--task", "1"])
    (words,) = trained
    assert option(words, "--trainer.logger") == "WandbLogger"
    assert option(words, "--trainer.logger.group") == "experiments/tiny/half"
    assert option(words, "--trainer.logger.job_type") == "half"


def test_a_key_is_written_into_no_job_script() -> None:
    """It would be there for everybody to read."""
    key = ["--trainer.logger.api_key", "0123456789abcdef"]
    with pytest.raises(Refused, match="a key would be written into the job script: give it in the environment"):
        reproduce(["reproduce", str(written(Path("my"))), "--slurm", *key])
    assert not Path("runs").exists()


def test_a_misspelt_scale_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The line has the scales there are."""
    with pytest.raises(SystemExit) as stop:
        main(["reproduce", str(TINY), "--scale", "haf"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("stratoscope: --scale haf: experiments/tiny has full, half")


def test_networks_are_probed_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An experiment of `validate` has a plan, begins again what was cut off, and judges by the probes."""
    fork_runs(monkeypatch.setattr)
    options = {name: value for name, value in OPTIONS.items() if name != "trainer.max_epochs"}
    options["trainer.callbacks"] = [{"class_path": "LinearProbes", "init_args": {"taps": "*relu*", "tolerance": 1e-3}}]
    depth = {"probe": "true_label test", "take": "rank_correlation"}
    claim = {"text": "Depth helps", "quantity": "depth", "at_least": 0.5}
    file = written(
        tmp_path / "my", command="validate", options=options, quantities={"depth": depth}, claims=[claim],
        axes={"depth": {5: {"model.depth": 5}}}, runs=[{"depth": 5}],
        figures={"profile": {"kind": "profile", "title": "", "quantity": "depth", "lines": "depth"}},
    )  # fmt: skip
    assert reproduce(["reproduce", str(file), "--dry-run"]) == 0
    assert not Path("runs").exists()
    for cut_off in (False, True):
        if cut_off:
            record = json.loads(Path("runs/my_small/full/5/run.json").read_text())
            Path("runs/my_small/full/5/run.json").write_text(json.dumps({**record, "status": "running"}))
        assert reproduce(["reproduce", str(file), "--jobs", "1"]) == 0
        assert "1 of 1 runs finished" in capsys.readouterr().out
        assert "does not hold" in Path("runs/my_small/full/report.html").read_text()
    assert not Path("runs/my_small/full/5/checkpoints").exists()
    drawn = Path("runs/my_small/full/report/profile.csv").read_text().splitlines()[1:]
    layers = [f"network.relu{layer}" for layer in range(1, 6)]
    names = [line.split(",")[:3] for line in drawn]  # each layer once, as nothing was trained
    assert names == [["5", "", layer] for layer in layers]
