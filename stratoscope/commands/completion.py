"""Shell completion of commands, options, classes, layers, runs and experiments.

jsonargparse can print a completion script too, but unrolls every class that any option of Lightning's Trainer could
hold, which does not end. Here the options are the trainer's and those of our own classes, and of the classes of
Lightning's loggers and torch's optimisers and schedules. Bash knows more than other shells: it offers an option only to
the class that takes it, as far as one has been named, and the names of runs.
"""

import argparse
import shlex
from collections.abc import Sequence
from importlib import import_module

import shtab
import torch
from lightning.pytorch import Callback, Trainer, loggers
from lightning.pytorch.loggers import Logger
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from stratoscope.commands.runs import METRICS
from stratoscope.commands.table import COMMANDS, OPTIONS, TRAINING
from stratoscope.datamodules import Augmentation, Corruption, ImageDataModule, ShiftedSet
from stratoscope.errors import Refused
from stratoscope.experiments.experiment import FULL
from stratoscope.experiments.experiment_file import experiment_names, read_experiment
from stratoscope.fit.classes import parameters, subclasses
from stratoscope.models import Classifier

FLAGS = ("--print_config", "--debug", "--trust")
FILES = ("--config", "--ckpt_path")
FOLDERS = ("--runs", "--data.root")
LISTS = ("--data.corruption", "--data.augmentation", "--data.shifted", "--trainer.callbacks", "--trainer.logger")
BASES: dict[str, type] = {
    "--model": Classifier,
    "--model.optimizer": Optimizer,
    "--model.scheduler": LRScheduler,
    "--data": ImageDataModule,
    "--data.corruption": Corruption,
    "--data.augmentation": Augmentation,
    "--data.shifted": ShiftedSet,
    "--trainer.callbacks": Callback,
    "--trainer.logger": Logger,
}
THEIRS = {"--model.optimizer", "--model.scheduler", "--trainer.logger"}  # all of whose classes are of others
TAPS = "--trainer.callbacks.taps"
NAMED_TAPS = ("natural", "all", "input")
# What bash does beside what shtab writes: `takes` are the options, and `layers` the layers, of a class that was named.
BASH = r"""
_stratoscope_of() {
  takes= layers=
  case "$1" in
%s
  esac
}

# $1=option; sets `class`, what was given last for it
_stratoscope_named() {
  local at
  class=
  for ((at = 1; at < COMP_CWORD; at++)); do
    if [[ ${COMP_WORDS[at]} == "$1="* ]]; then
      class=${COMP_WORDS[at]#*=}
    elif [[ ${COMP_WORDS[at]%%+} == "$1" ]]; then
      class=${COMP_WORDS[at + 1]}
      [[ $class == "=" ]] && class=${COMP_WORDS[at + 2]}
    fi
  done
}

_stratoscope_fitting() {
  local kept=() option class takes layers family= word=${COMP_WORDS[COMP_CWORD]}
  if [[ ${COMP_WORDS[COMP_CWORD - 1]} == %s ]]; then
    _stratoscope_named --model
    _stratoscope_of "--model=${class##*.}"
    [[ -n $layers ]] && COMPREPLY=($(compgen -W "%s $layers" -- "$word"))
    return
  fi
  [[ $word == --*.* ]] || return
  for option in "${COMPREPLY[@]}"; do
    if [[ ${option%%.*} != "$family" ]]; then
      family=${option%%.*}
      _stratoscope_named "$family"
      _stratoscope_of "$family=${class##*.}"
    fi
    [[ -z $takes || $takes == *" ${option##*.} "* ]] && kept+=("$option")
  done
  COMPREPLY=("${kept[@]}")
}

# $1=file; prints the folders with such a file, to three levels below the folder of all runs, a line each
_stratoscope_folders() {
  local class file
  _stratoscope_named --runs
  for file in "${class:-runs}"/{,*/,*/*/,*/*/*/}"$1"; do
    [[ -f $file ]] && echo "${file%%/*}"
  done
}

# $1=COMP_WORDS[1]
_stratoscope_compgen_runs() {
  local IFS=$'
'
  compgen -W "$(_stratoscope_folders run.json | sed 's|.*/||')" -- "$1"
}

_stratoscope_compgen_run_dirs() {
  local IFS=$'
'
  compgen -W "$(_stratoscope_folders run.json)" -- "$1" || _shtab_compgen_dirs "$1"
}

_stratoscope_compgen_reports() {
  local IFS=$'
'
  local found="$(_stratoscope_folders run.json; _stratoscope_folders experiment.json)"
  compgen -W "$found" -- "$1" || _shtab_compgen_dirs "$1"
}
"""
# by what stands for an argument in a command's help
PLACES = {
    ("show", "ID"): {**shtab.DIRECTORY, "bash": "_stratoscope_compgen_runs"},
    ("resume", "RUN"): {**shtab.DIRECTORY, "bash": "_stratoscope_compgen_run_dirs"},
    ("path", "RUN"): {**shtab.DIRECTORY, "bash": "_stratoscope_compgen_run_dirs"},
    ("report", "RUN"): {**shtab.DIRECTORY, "bash": "_stratoscope_compgen_reports"},
}


def completion(words: Sequence[str]) -> int:
    """`stratoscope --print_completion SHELL`, to be used as: eval "$(stratoscope --print_completion bash)".

    Args:
        words: The command line.

    Returns:
        The exit code, 0.

    Raises:
        Refused: If there is no such shell.
    """
    shell = " ".join(words[1:])
    if shell not in shtab.SUPPORTED_SHELLS:
        shells = " or ".join(shtab.SUPPORTED_SHELLS)
        raise Refused(f"--print_completion: expected {shells}, got {shell or 'nothing'}")
    print(completion_script(shell))
    return 0


def completion_script(shell: str) -> str:
    """Script that completes `stratoscope ...` in a shell.

    Args:
        shell: One of shtab's: bash, zsh, tcsh, fish, ...
    """
    parser = argparse.ArgumentParser("stratoscope")
    for option, entry in OPTIONS.items():
        if option.startswith("--") and option != "--help":
            parser.add_argument(option, action="store_true", help=entry.help)
    commands = parser.add_subparsers()
    for name, entry in COMMANDS.items():
        if name in TRAINING:
            _add_options(commands.add_parser(name, help=entry.help))
            continue
        module = import_module(entry.load().__module__)
        made = commands.add_parser(name, help=entry.help, parents=[module.parser(name)], add_help=False)
        for action in made._actions:
            _complete(name, action)
    if shell != "bash":
        return str(shtab.complete(parser, shell))
    end = "\n  return 0\n}\n\ncomplete "  # of the function that completes
    return str(shtab.complete(parser, shell, preamble=_bash())).replace(end, f"\n  _stratoscope_fitting{end}")


def _complete(command: str, action: argparse.Action) -> None:
    """Say what an argument of a command can be."""
    if action.metavar == "FILE":
        action.complete = shtab.FILE  # type: ignore[attr-defined]
    elif action.metavar == "METRIC":
        action.choices = METRICS
    elif (place := (command, str(action.metavar))) in PLACES or action.metavar == "FOLDER":
        action.complete = PLACES.get(place, shtab.DIRECTORY)  # type: ignore[attr-defined]
    elif command in {"reproduce", "workspace"} and action.dest in {"name", "experiment"}:
        action.choices = experiment_names()
    elif action.dest == "scale":
        action.choices = [FULL, *dict.fromkeys(scale for name in experiment_names() for scale in _scales(name))]


def _scales(experiment: str) -> list[str]:
    return list(read_experiment(experiment).scales)


def _add_options(parser: argparse.ArgumentParser) -> None:
    for option in FLAGS:
        parser.add_argument(option, action="store_true")
    for option in FILES:
        parser.add_argument(option).complete = shtab.FILE  # type: ignore[attr-defined]
    for option in FOLDERS:
        parser.add_argument(option).complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    classes = {option: [child.__name__ for child in _classes(option)] for option in BASES}
    for option in [*BASES, *(f"{option}+" for option in LISTS)]:
        parser.add_argument(option, choices=classes[option.removesuffix("+")])
    layers = dict.fromkeys(layer for network in _classes("--model") for layer in _layers(network))
    parser.add_argument(TAPS, choices=[*NAMED_TAPS, *layers])
    ours = {"--run", "--seed_everything", "--threads", *(f"--trainer.{name}" for name in parameters(Trainer))}
    for option in BASES:
        ours |= {f"{option}.{name}" for child in _classes(option) for name in _takes(option, child)}
    for option in sorted(ours - set(BASES) - set(FOLDERS) - {TAPS}):
        parser.add_argument(option)


def _classes(option: str) -> list[type]:
    """What an option can name, in order of the names."""
    found = {child.__name__: child for child in subclasses([BASES[option]])}
    if option == "--trainer.logger":  # and none that serve other classes
        found = {name: child for name, child in found.items() if name in loggers.__all__}
    return [found[name] for name in sorted(found)]


def _ours(option: str) -> list[type]:
    """Those whose options are offered before one has been named."""
    return [one for one in _classes(option) if option in THEIRS or one.__module__.startswith("stratoscope.")]


def _takes(option: str, child: type) -> list[str]:
    """Names of the options of a class that an option can name."""
    given = {"optimizer"} if option == "--model.scheduler" else set()  # by whoever makes it
    return [name for name in parameters(child) if name not in given]


def _layers(network: type) -> list[str]:
    """The layers of a network as it is by default, as far as it is one and the same."""
    if not network.__module__.startswith("stratoscope.") or "name" in parameters(network):
        return []
    with torch.device("meta"):
        return [name for name, _ in network().named_modules() if name.count(".") == 1]


def _bash() -> str:
    """What bash does beside what shtab writes."""
    cases = []
    for option in BASES:
        for child in _classes(option):
            layers = f" layers={shlex.quote(' '.join(_layers(child)))}" if option == "--model" else ""
            cases.append(f"    {option}={child.__name__}) takes=' {' '.join(_takes(option, child))} '{layers} ;;")
        unnamed = {name: None for child in _ours(option) for name in _takes(option, child)}
        cases.append(f"    {option}=) takes=' {' '.join(unnamed)} ' ;;")
    return BASH % ("\n".join(cases), TAPS, " ".join(NAMED_TAPS))
