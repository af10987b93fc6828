"""Bad input in one line: what is wrong, where, and what would be right.

jsonargparse explains an error over many lines, as a tree of what it tried. `one_line` keeps the leaves that say
something, finds the option on the command line they belong to, and names the nearest valid option or class.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from lightning.pytorch import Trainer

from stratoscope.errors import nearest
from stratoscope.fit.classes import BASES, OPTIONS, parameters, subclasses

TYPES = {"NoneType": "null", "bool": "true or false", "int": "a whole number", "float": "a number", "str": "text"}
# what other programs call our options
ALIASES = {
    "--model.optimizer.lr": "lr learning_rate base_lr initial_lr",
    "--model.optimizer.momentum": "momentum",
    "--model.optimizer.weight_decay": "weight_decay wd l2",
    "--model.optimizer": "optimizer optim opt",
    "--model.scheduler": "scheduler lr_scheduler schedule",
    "--model": "arch architecture network net model_name",
    "--data": "dataset data_set dataset_name",
    "--data.root": "data_dir data_root data_path dataset_path datadir root",
    "--data.batch_size": "batch_size batch bs bsz train_batch_size per_device_train_batch_size",
    "--trainer.max_epochs": "epochs epoch max_epochs n_epochs num_epochs num_train_epochs nepochs",
    "--trainer.max_steps": "steps max_steps num_steps iterations",
    "--trainer.devices": "gpus gpu num_gpus n_gpus ngpu devices device_count num_devices nproc_per_node",
    "--trainer.accelerator": "accelerator device cuda cpu",
    "--trainer.num_nodes": "nodes nnodes num_nodes",
    "--trainer.precision": "precision fp16 bf16 amp half",
    "--trainer.logger WandbLogger": "wandb use_wandb",
    "--seed_everything": "seed random_seed manual_seed",
    "--ckpt_path": "ckpt checkpoint checkpoint_path resume_from resume_from_checkpoint load",
    "--run": "name run_name exp_name experiment experiment_name run_id",
    "--runs": "output output_dir out out_dir save_dir log_dir logdir work_dir default_root_dir",
    "--threads": "num_threads n_threads cpu_threads",
    "--debug": "verbose traceback",
    "the command stratoscope resume runs/NAME": "resume",
}
STARTS = "options start with --"
WRITTEN = "a class is written {class_path: NAME, init_args: {...}}, on the command line in single quotes"
# lines of jsonargparse's tree that say nothing about the input
FRAME = re.compile(
    r"Subtypes:|Errors:|Given value|Does not validate|Not a valid subclass|Subclass types expect|[Pp]arser key"
    r"|a class path \(str\)|a dict with|Expected a path but"
)


def one_line(message: str, words: list[str]) -> str:
    """Turn an account of an error into one line.

    Args:
        message: The message of the exception.
        words: The command line.

    Returns:
        The line, without a prefix.
    """
    said = next(
        (say(found, words) for pattern, say in RULES if (found := re.search(pattern, message, re.DOTALL))), None
    )
    return " ".join((said or _wrong_value(message, words)).split())


def _no_choice(found: re.Match[str], words: list[str]) -> str:
    choices = re.findall(r"[\w-]+", found[3])
    return f"{found[1].split()[0]}: expected {' or '.join(choices)}, got {found[2]}"


def _unknown_option(found: re.Match[str], words: list[str]) -> str:
    word, _, value = found[1].partition("=")
    if not word.startswith("-") and found[1] in words[1:]:
        meant = f"--{word}" if f"--{word}" in _all_options(words) else _known_as(word, words)
        return f"unknown option {word}; {f'did you mean {meant} {value}'.rstrip() + '?' if meant else STARTS}"
    where = _where(word, words)
    if word.startswith("class_path") or word.split(".")[0] in {child.__name__ for child in subclasses(BASES)}:
        return f"unknown option {word}: {WRITTEN}"
    prefix, _, name = where.rpartition(".")
    dotted = f"{prefix}." if prefix else ""
    given, known_as = _class_given(prefix, words), _known_as(where, words)
    hint = f"; did you mean {known_as}?" if known_as else ""
    if given:
        elsewhere = prefix.partition(".")[0] != known_as.partition(".")[0]  # of another part, which this one is not
        close = nearest(name, parameters(given), dotted) or (hint if known_as and not elsewhere else "")
        return f"unknown option {where}" + (close or f"; {given.__name__} takes {', '.join(parameters(given))}")
    if where.startswith("--"):
        hint = hint or _not_taken(name, words)
        return f"unknown option {where}{hint or nearest(where, _all_options(words))}"
    in_classes = {name for child in _named(words) for name in parameters(child)}
    in_yaml = [option.removeprefix("--") for option in _options()]
    hint = hint.replace(" --", " ")
    return f"unknown option {where}{hint or nearest(where, in_yaml) or nearest(name, in_classes, dotted)}"


def _known_as(where: str, words: list[str]) -> str:
    """Our name of what others call so, or the option whose last part it is; nothing if there is none."""
    name = where.rpartition(".")[2].lstrip("-").replace("-", "_")
    for option, names in ALIASES.items():
        part = option.removeprefix("--").split(".")
        inside = _class_given(f"--{part[0]}", words) if len(part) > 1 else None
        if name in names.split() and (inside is None or part[1] in parameters(inside)):
            return option
    return next((one for one in _all_options(words) if one.rpartition(".")[2] == name and one != where), "")


def _not_taken(name: str, words: list[str]) -> str:
    """That the class which is given has no such argument, if others have it by the name that other programs use."""
    for option, names in ALIASES.items():
        part = option.removeprefix("--").split(".")
        inside = _class_given(f"--{part[0]}", words) if len(part) > 1 else None
        if inside and name.lstrip("-").replace("-", "_") in names.split():
            return f"; {inside.__name__} takes no {part[1]}"
    return ""


def _all_options(words: list[str]) -> list[str]:
    """Our options and the trainer's, and those of the network, data and callbacks that are named."""
    inside = []
    for option, base in OPTIONS.items():
        child = _class_given(option, words)
        inside += [f"{option}.{name}" for name in parameters(child)] if child and issubclass(child, base) else []
    return [*_options(), *inside]


def _missing(found: re.Match[str], words: list[str]) -> str:
    name = found[1].rpartition(".")[2]
    if name == "model":
        return "--model is missing: give a network, such as --model SmallAlexNet, or a --config that names one"
    for child in _named(words):
        if name in parameters(child):
            option = next((word for word, value in _pairs(words) if value == child.__name__), "")
            return f"{option}.{name} is missing: {child.__name__} needs it"
    return f"{name} is missing"


def _no_class(found: re.Match[str], words: list[str]) -> str:
    if found[1].endswith((".yaml", ".yml")):
        return f"no file {found[1]}"
    option = next((option for option, value in _pairs(words) if value.split(" ")[0] == found[1]), "")
    if found[1].startswith(("[", "{")):
        return f"{option}: no class {found[1]}: {WRITTEN}"
    base = OPTIONS.get(option)
    names = [child.__name__ for child in subclasses([base] if base else BASES)]
    return f"{option}: ".removeprefix(": ") + f"no class {found[1]}{nearest(found[1], names)}"


def _no_number(found: re.Match[str], words: list[str]) -> str:
    option = next((option for option, value in _pairs(words) if value == found[1]), "")
    return f"{option}: ".removeprefix(": ") + f"expected a number, got {found[1]}"


def _abstract(found: re.Match[str], words: list[str]) -> str:
    name = found[1].rpartition(".")[2]  # empty, where that is what was asked for
    option = next((option for option, base in OPTIONS.items() if base.__name__ == name), "")
    inside = next((word for word, _ in _pairs(words) if option and word.startswith(f"{option}.")), "")
    if not inside:
        bases = {base.__name__ for base in (*BASES, *subclasses(BASES, abstract=True))}
        asked = next(((word, value) for word, value in _pairs(words) if value.rpartition(".")[2] in bases), ("", name))
        return f"{': '.join(filter(None, asked))} is abstract: give a class that is made from it"
    return f"{inside}: {option} is missing: it says which class takes this"


def _no_file(found: re.Match[str], words: list[str]) -> str:
    given = next(
        (value for _, value in _pairs(words) if value and found[1].endswith(value.removeprefix("./"))), found[1]
    )
    return f"--config: no file {given}"


def _bad_yaml(found: re.Match[str], words: list[str]) -> str:
    files = [value for option, value in _pairs(words) if option in {"--config", "-c"}]
    cause = " ".join(found[1].replace('in "<unicode string>", ', "").split())
    return f"--config {' or '.join(files)} is no valid YAML: {cause or 'it is empty'}"


def _no_memory(found: re.Match[str], words: list[str]) -> str:
    return f"this takes more memory than there is: {int(found[1]) / 2**30:.3g} GiB at once; choose smaller sizes"


Rule = Callable[[re.Match[str], list[str]], str]
RULES: list[tuple[str, Rule]] = [
    (r"argument (--.*?): invalid choice: '([^']*)' \(choose from (.*)\)", _no_choice),
    (r"[Uu]nrecognized arguments: (\S+)", _unknown_option),
    (r"Option '([^']+)' is not accepted", _unknown_option),
    (r"does not accept option '([^']+)'", _unknown_option),
    (r"[Kk]ey '([^']+)' is not expected", _unknown_option),
    (r"arguments are required: ([\w.]+)", _missing),
    (r"Expected a <class '(?:float|int)'>\s+- Expected a dot import path string: (\S+)", _no_number),
    (r"Expected an instantiatable class, but (\S*) ?is abstract", _abstract),
    (r"dot import path string: (\S+)", _no_class),
    (r"class_path '([^']+)':[\s-]*(?:No module|Import of)", _no_class),
    (r"File does not exist: '([^']+)'", _no_file),
    (r"tried to allocate (\d+) bytes", _no_memory),
    (r"Problems parsing config:(.*)", _bad_yaml),
    (r"Unexpected config:(.*)", _bad_yaml),
]


def _wrong_value(message: str, words: list[str]) -> str:
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    causes = list(dict.fromkeys(line for line in lines if line and not FRAME.match(line)))
    said = [line for line in causes if not line.startswith("Expected a")]
    if said:
        return _with_place(" ".join("; ".join(said).split()), words)
    key = re.search(r"[Pp]arser key \"([^\"]+)\"", message)
    nested = re.search(r"NestedArg\(key='([^']+)', val='?([^')]*)", message)
    value = re.search(r"(?:Given value|Got value): (.*)", message)
    given = nested[2] if nested else value[1] if value else ""
    kinds = dict.fromkeys(kind for line in causes for kind in _kinds(line) if not (nested and kind == "null"))
    where = _where(nested[1] if nested else key[1] if key else "", words)
    return f"{where}: expected {' or '.join(kinds)}, got {given.strip()}" if kinds else " ".join(message.split())


def _kinds(line: str) -> list[str]:
    if literal := re.search(r"Literal\[(.*?)\]", line):
        return [choice.strip(" '\"") for choice in literal[1].split(",")]
    found = re.search(r"<class '([^']+)'>", line)
    name = found[1] if found else line.removeprefix("Expected a ").split(".")[0]
    return [TYPES.get(name, name)]


def _with_place(line: str, words: list[str]) -> str:
    """Put the option before a message that names its last part and its value."""
    for option, value in _pairs(words):
        name = option.rpartition(".")[2].removeprefix("--")
        if value and option not in line and re.search(rf"\b{re.escape(name)}\b.*{re.escape(value)}", line):
            return f"{option}: {line}"
    return line


def _pairs(words: list[str]) -> Iterator[tuple[str, str]]:
    """Options of a command line with their values."""
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("-"):
            name, equals, value = word.partition("=")
            yield name.rstrip("+"), value if equals else "" if after.startswith("--") else after


def _where(key: str, words: list[str]) -> str:
    """The option a key was given by, as typed, or the key itself."""
    options = [option for option, _ in _pairs(words)]
    return next((option for option in options if option == f"--{key}" or option.endswith(f".{key}")), key)


def _class_given(option: str, words: list[str]) -> type | None:
    """The class an option holds, from the command line or else from the configs."""
    value = next((value for name, value in _pairs(words) if name == option), None)
    base = OPTIONS.get(option.removesuffix("+"))
    return next((child for child in subclasses(BASES) if child.__name__ == value), None) or next(
        (child for child in _mentioned(words) if base and issubclass(child, base)), None
    )


def _named(words: list[str]) -> list[type]:
    """Classes named on the command line or in its configs, or any class if there is none."""
    return _mentioned(words) or list(subclasses(BASES))


def _mentioned(words: list[str]) -> list[type]:
    files = [Path(value) for option, value in _pairs(words) if option in {"--config", "-c"}]
    texts = [file.read_text(errors="replace") for file in files if file.is_file()]
    names = {name for text in [*words, *texts] for name in re.findall(r"\w+", text)}
    return [child for child in subclasses(BASES) if child.__name__ in names]


def _options() -> list[str]:
    ours = [
        "--model",
        "--data",
        "--config",
        "--seed_everything",
        "--ckpt_path",
        "--run",
        "--runs",
        "--threads",
        "--trust",
        "--print_config",
    ]
    return [*ours, *(f"--trainer.{name}" for name in parameters(Trainer))]
