"""Every command of `stratoscope`, a row each: dispatch, help, hints, completion and exit codes come from this table."""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple

import stratoscope
from stratoscope.dependencies import missing, unreadable_rank
from stratoscope.errors import Refused, exit_codes, nearest
from stratoscope.fit.quiet import quieten


class Entry(NamedTuple):
    """A command.

    Attributes:
        function: `module:function`. It is given the words of the command line, the command's name first, and returns
            the exit code.
        help: What it does.
        reads: Whether it only looks at files: it starts without Lightning and torch, and writes nothing.
    """

    function: str
    help: str
    reads: bool = False

    def load(self) -> Callable[[Sequence[str]], int]:
        """Import the function."""
        module, _, name = self.function.partition(":")
        found: Callable[[Sequence[str]], int] = getattr(import_module(f"stratoscope.{module}"), name)
        return found


COMMANDS = {
    "fit": Entry("fit.command:run_command", "train a network; --config FILE, or --model NAME --data NAME"),
    "validate": Entry("fit.command:run_command", "evaluate a stored network on the validation sets: --ckpt_path FILE"),
    "test": Entry("fit.command:run_command", "evaluate a stored network on the test sets: --ckpt_path FILE"),
    "predict": Entry("fit.command:run_command", "write the predictions of a stored network: --ckpt_path FILE"),
    "resume": Entry("commands.resume:resume", "go on with a run that was interrupted"),
    "path": Entry("commands.path:path", "measure the loss between the solutions of two to four runs, or around one"),
    "reproduce": Entry("commands.reproduce:reproduce", "run an experiment and report; without a name, list all"),
    "report": Entry("commands.report:report", "write the page of a run, or the report of an experiment again"),
    "ls": Entry("commands.runs:ls", "list runs: how far they are, and their accuracies", reads=True),
    "show": Entry("commands.runs:show", "show everything about one run", reads=True),
    "best": Entry("commands.runs:best", "rank runs by the best value of a metric", reads=True),
    "list": Entry("commands.list:print_list", "list networks, data sets, corruptions, augmentations and callbacks"),
    "doctor": Entry("commands.doctor:doctor", "examine this machine, and a folder of data"),
    "workspace": Entry("commands.workspace:save_workspace", "save a W&B workspace for the runs of an experiment"),
}
OPTIONS = {
    "--help": Entry("commands.table:say_help", "this; after a command, what that takes", reads=True),
    "-h": Entry("commands.table:say_help", "", reads=True),
    "--version": Entry("commands.table:say_version", "the version", reads=True),
    "--print_completion": Entry("commands.completion:completion", "bash, zsh, ...: a script that completes all this"),
}
TRAINING = [name for name, entry in COMMANDS.items() if entry.function == "fit.command:run_command"]
ABOUT = "Train on true or corrupted data; know at every epoch what every layer knows."
EXAMPLE = "stratoscope fit --config configs/quickstart.yaml"


def main(args: Sequence[str] | None = None) -> None:
    """Run `stratoscope`.

    Args:
        args: The words after `stratoscope`; those of the process by default.

    Raises:
        SystemExit: With the exit code of the command, if that is not 0; see also `exit_codes`.
        Refused: With --debug, as all that `exit_codes` would say in one line.
    """
    words = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if words[:1] == ["--trust"]:
        words = [*words[1:], "--trust"]
    if words and words[0].startswith("--print_completion="):
        words = [*words[0].split("=", 1), *words[1:]]
    quieten()
    name = words[0] if words else ""
    entry = COMMANDS.get(name) or OPTIONS.get(name)
    reads = entry is not None and entry.reads
    with exit_codes(debug, writes=not reads):
        if entry is None:
            raise Refused(_no_command(name))
        if gone := missing():
            raise Refused(f"not installed: {', '.join(gone)}; python -m pip install {' '.join(gone)}")
        if not reads and (rank := unreadable_rank()):
            raise Refused(f"{rank} in the environment must be a whole number: unset it")
        if code := entry.load()(words):
            raise SystemExit(code)


def say_help(words: Sequence[str]) -> int:
    """`--help`: the table."""
    width = max(map(len, COMMANDS | OPTIONS)) + 2
    lines = ["usage: stratoscope COMMAND ...", "", ABOUT, ""]
    lines += [f"  {name:<{width}}{entry.help}" for name, entry in COMMANDS.items()]
    lines += ["", *(f"  {name:<{width}}{entry.help}" for name, entry in OPTIONS.items() if entry.help)]
    print("\n".join([*lines, f"  {'--debug':<{width}}errors with their traceback", "", f"for example: {EXAMPLE}"]))
    return 0


def say_version(words: Sequence[str]) -> int:
    """`--version`."""
    print(f"stratoscope {stratoscope.__version__}")
    return 0


def _no_command(name: str) -> str:
    if not name or name.startswith("-"):
        return f"a command is missing, one of {', '.join(COMMANDS)}; for example: {EXAMPLE}"
    return f"no command {name}; commands are {', '.join(COMMANDS)}{nearest(name, COMMANDS)}"
