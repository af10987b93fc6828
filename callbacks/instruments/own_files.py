"""The files an instrument leaves: none that another run has left is ever overwritten."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from stratoscope.files.table import EpochTable, UnreadableTable

NAME = r"[A-Za-z][A-Za-z0-9_]*"  # of an instrument
RUN_RECORD = "run.json"  # a folder that has it belongs to one run alone


def folder(trainer: Trainer) -> Path:
    """Where an instrument's files go; all processes have to ask."""
    return Path(trainer.log_dir or trainer.default_root_dir)


def goes_on(trainer: Trainer) -> bool:
    """Whether the checkpoint that training goes on from is one of this run: what it knows is in this run's files."""
    return bool(trainer.ckpt_path) and Path(str(trainer.ckpt_path)).resolve().is_relative_to(
        Path(trainer.default_root_dir).resolve()
    )


def run_of(checkpoint: str) -> str:
    """A name for a checkpoint: that of its run, or else of the file.

    Args:
        checkpoint: Its path.
    """
    path = Path(checkpoint)
    return path.absolute().parent.parent.name if path.absolute().parent.name == "checkpoints" else path.name


def distinct(checkpoints: Sequence[str]) -> list[str]:
    """Names for checkpoints: those of their runs, with the file's where two are of one run, else their paths.

    Args:
        checkpoints: Their paths.
    """
    names = [run_of(one) for one in checkpoints]
    longer = [f"{name} {Path(one).stem}" for name, one in zip(names, checkpoints, strict=True)]
    for choice in (names, longer):
        if len({*choice}) == len(choice):
            return choice
    return list(checkpoints)


class OwnFiles:
    """Names of the files of one instrument in one run.

    Without a logger, or with one that has a folder for all its runs, such as W&B's, the files of one run would be in
    the place of another's. Then those of this run get a number: probes-2.csv.

    Args:
        name: Of the instrument, which is a part of the names; None if there is one alone.
        first: The file by which it is known whether a run has left something, such as probes.csv.
    """

    def __init__(self, name: str | None, first: str) -> None:
        self.name, self.first = name, first
        self.forget()

    def forget(self) -> None:
        """Begin another run."""
        self.folder, self.number = "", 1

    def find(self, to: Path) -> None:
        """Choose the names in a folder, unless that has been done.

        Args:
            to: The folder.
        """
        if self.folder and Path(self.folder).resolve() == to.resolve():
            return
        self.folder, self.number = str(to), 1
        if (to / RUN_RECORD).exists():
            return
        while (file := self.path(self.first)).exists():
            self.number += 1
        if self.number > 1:
            rank_zero_info(f"{to / self._named(self.first, 1)} is of another run: this one writes {file.name}")

    def begin(self, trainer: Trainer, tables: Mapping[str, EpochTable], whole: bool) -> None:
        """Choose the names for a training that begins, or goes on with what it has written.

        Args:
            trainer: The trainer.
            tables: By the names of their files.
            whole: Whether they have all their rows, or those of the last epoch alone, as in checkpoints.
        """
        if trainer.global_step == 0:
            self.forget()
        to = folder(trainer)
        if not whole and trainer.is_global_zero and goes_on(trainer):
            self.go_on(to, tables)
        self.find(to)  # now, so that every checkpoint knows them

    def path(self, file: str) -> Path:
        """The path of a file, such as probes.csv, in the folder that was looked at last."""
        return Path(self.folder) / self._named(file, self.number)

    def _named(self, file: str, number: int) -> str:
        stem, dot, kind = file.rpartition(".")
        return f"{stem}{f'_{self.name}' if self.name else ''}{f'-{number}' if number > 1 else ''}{dot}{kind}"

    def state_dict(self) -> dict[str, str | int]:
        """What a run that goes on has to know."""
        return {"folder": str(Path(self.folder).resolve()) if self.folder else "", "number": self.number}

    def load_state_dict(self, state: dict[str, str | int]) -> None:
        """Go on with the files of an earlier state."""
        self.folder, self.number = str(state["folder"]), int(state["number"])

    def go_on(self, to: Path, tables: Mapping[str, EpochTable]) -> None:
        """Choose the names in a folder, and read the rows of earlier epochs, of which checkpoints have the last alone.

        Args:
            to: The folder. One that belongs to this run alone has them; else they may be where the run wrote before.
            tables: By the names of their files, with the rows of the last epoch; the first process has to ask.
        """
        before = {name: self.path(name) for name in tables}
        self.find(to)
        for name, table in tables.items():
            file = self.path(name)
            _take_up(table, file if (to / RUN_RECORD).exists() else before[name])
            if table.epochs:
                table.write(file)


def _take_up(table: EpochTable, file: Path) -> None:
    """Read the rows of earlier epochs; what cannot be read is kept under another name."""
    if not table.latest:
        return
    before = f"the rows before epoch {table.epochs[-1]}"
    if not file.is_file():
        rank_zero_warn(f"there is no {file}: {before} are not there")
        return
    try:
        table.go_on(file, table.latest)
    except UnreadableTable as error:
        aside = file.with_name(f"{file.name}.damaged")
        file.replace(aside)
        rank_zero_warn(f"{error}; {before} are left out, and the file is kept as {aside.name}")
