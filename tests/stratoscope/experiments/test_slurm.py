"""Tests of stratoscope/experiments/slurm.py, with an sbatch that notes what it is given and scripts that really run."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from stratoscope.commands.reproduce import reproduce
from stratoscope.commands.table import main
from stratoscope.experiments.experiment_file import read_experiment
from stratoscope.experiments.grid import planned_runs
from stratoscope.experiments.report import write_report
from stratoscope.experiments.slurm import job_script, template, waves
from tests.small_experiments import TINY, written

# notes its words, one a line, and answers like a cluster of several: the job's number and the cluster
SBATCH = """#!/bin/bash
echo called >> "$NOTES/calls"
number=$(wc -l < "$NOTES/calls")
printf '%s\\n' "$@" > "$NOTES/call$number"
echo "$((40 + number));cluster"
"""
STAGES = {"stage": {"first": {}, "second": {"a": "{run:stage=first}"}, "third": {"a": "{run:stage=second}"}}}


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with an sbatch and an srun on PATH; the folder of sbatch's notes."""
    command(tmp_path / "bin" / "sbatch", SBATCH)
    command(tmp_path / "bin" / "srun", '#!/bin/bash\nexec "$@"\n')
    (tmp_path / "notes").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=os.pathsep)
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    for name in ("STRATOSCOPE_RUN", "SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "notes"


def command(file: Path, text: str) -> None:
    """Write a program."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


def calls(notes: Path) -> list[list[str]]:
    """The words of every call of sbatch."""
    number = len(list(notes.glob("call[0-9]*")))
    return [(notes / f"call{one}").read_text().splitlines() for one in range(1, number + 1)]


def assert_is_bash(script: Path) -> None:
    """Check the syntax."""
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_a_task_of_the_array_is_one_run(
    notes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The script that was submitted runs, as bash runs it, the run of its number and no other."""
    command(notes.parent / "bin" / "a python", '#!/bin/bash\nprintf "%s\\n" "$PWD" "$@" > "$NOTES/words"\n')
    monkeypatch.setattr("sys.executable", str(notes.parent / "bin" / "a python"))
    file = written(Path("my experiments"))
    assert reproduce(["reproduce", str(file), "--slurm", "--runs", "all runs", "--threads", "1"]) == 0
    folder = Path("all runs/my-experiments_small/full").resolve()
    script = folder / "wave0.sbatch"
    array, report = calls(notes)
    assert array == ["--parsable", str(script.relative_to(Path.cwd()))]
    assert report[:3] == ["--parsable", "--dependency", "afterany:41"]
    assert "job 41: 4 runs" in capsys.readouterr().out
    assert list(json.loads((folder / "experiment.json").read_text())["runs"]) == [
        "narrow__0", "narrow__1", "wide__0", "wide__1",
    ]  # fmt: skip
    assert_is_bash(script)
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    assert "#SBATCH --array=0,1,2,3%32" in lines
    assert "#SBATCH --signal=USR1@120" in lines
    assert "#SBATCH --requeue" in lines
    subprocess.run(["bash", str(script)], env={**os.environ, "SLURM_ARRAY_TASK_ID": "2"}, check=True)
    place, *said = (notes / "words").read_text().splitlines()
    assert (Path(place), said[:2]) == (Path.cwd(), ["-m", "stratoscope"])
    main(said[2:])
    assert [run.name for run in folder.iterdir() if run.is_dir()] == ["wide__0"]
    assert json.loads((folder / "wide__0" / "run.json").read_text())["status"] == "finished"
    assert len((folder / "wide__0" / "metrics.csv").read_text().splitlines()) == 3

    words = report[report.index("--wrap") + 1]
    assert words.endswith(f"-m stratoscope report '{folder.relative_to(Path.cwd())}'")
    write_report(folder)
    assert "1 of 4 runs finished" in (folder / "report.html").read_text()


def test_runs_that_start_from_others_come_in_later_waves(notes: Path) -> None:
    """Each wave after the one before has ended well, or else never; the report after all of them, in any case."""
    file = written(Path("my"), axes={**STAGES, "seed": {0: {}, 1: {}}}, runs=[{"stage": "all", "seed": "all"}])
    assert reproduce(["reproduce", str(file), "--slurm"]) == 0
    first, second, third, report = calls(notes)
    assert first == ["--parsable", "runs/my_small/full/wave0.sbatch"]
    after = ["--parsable", "--dependency"]
    assert second == [*after, "afterany:41", "runs/my_small/full/wave1.sbatch"]
    assert third == [*after, "afterany:42", "runs/my_small/full/wave2.sbatch"]
    assert report[:3] == [*after, "afterany:41:42:43"]
    for wave, tasks in enumerate(["0,1", "2,3", "4,5"]):
        script = Path(f"runs/my_small/full/wave{wave}.sbatch")
        assert_is_bash(script)
        assert f"#SBATCH --array={tasks}%32" in script.read_text().splitlines()


def test_waves_are_as_few_as_can_be() -> None:
    """One for runs that start from none."""
    assert waves(planned_runs(read_experiment(str(TINY)), "full", "runs")) == [[0, 1, 2, 3, 4, 5, 6]]
    found = waves(planned_runs(read_experiment("journal/pretraining"), "small", "runs"))
    assert [len(wave) for wave in found] == [7, 28]


def test_a_template_of_ones_own(notes: Path) -> None:
    """It is filled in, and used without --slurm."""
    mine = Path("mine.sbatch")
    mine.write_text("#!/bin/sh\n# $name, $tasks in $folder, costs $$5\n$command $$SLURM_ARRAY_TASK_ID\n")
    assert reproduce(["reproduce", str(TINY), "--scale", "half", "--slurm_template", str(mine)]) == 0
    script = Path("runs/experiments_tiny/half/wave0.sbatch")
    _, said, last = script.read_text().splitlines()
    assert said == f"# experiments_tiny, 0,1,2%32 in {script.parent.resolve()}, costs $5"
    assert last.endswith(
        f"-m stratoscope reproduce {TINY} --scale half --runs runs --threads 1 --task $SLURM_ARRAY_TASK_ID"
    )


@pytest.mark.parametrize(
    ("text", "said"), [(None, "cannot read .*none.sbatch"), ("$nme", "has 'nme'; it can have"), ("a $", "it can have")]
)
def test_a_template_that_cannot_be_filled_in_is_refused(
    text: str | None, said: str, notes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing, or with another name in it; nothing is submitted."""
    if text is not None:
        Path("none.sbatch").write_text(text)
    with pytest.raises(SystemExit) as stop:
        main(["reproduce", str(TINY), "--slurm_template", "none.sbatch"])
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert (said.split(".*")[-1]) in err
    assert calls(notes) == []


def test_folders_with_spaces_and_quotes_are_quoted(tmp_path: Path) -> None:
    """In what bash runs."""
    script = tmp_path / "script"
    words = ["reproduce", "it's mine.yaml", "--task"]
    script.write_text(job_script(read_experiment(str(TINY)), tmp_path / "a b", [3], words, template()))
    assert_is_bash(script)
    assert """reproduce 'it'"'"'s mine.yaml' --task $SLURM_ARRAY_TASK_ID""" in script.read_text()


def test_without_sbatch_it_is_said(
    notes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line; the scripts are there."""
    monkeypatch.setenv("PATH", str(notes))
    with pytest.raises(SystemExit) as stop:
        main(["reproduce", str(TINY), "--slurm"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "stratoscope: --slurm: no sbatch on this machine; the scripts are written\n"
    assert Path("runs/experiments_tiny/full/wave0.sbatch").is_file()


def test_what_sbatch_refuses_is_said(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line, with its words."""
    command(notes.parent / "bin" / "sbatch", "#!/bin/sh\necho 'error: no partition' >&2\necho more >&2\nexit 1\n")
    with pytest.raises(SystemExit) as stop:
        main(["reproduce", str(TINY), "--slurm"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "stratoscope: --slurm: sbatch: error: no partition more\n"
