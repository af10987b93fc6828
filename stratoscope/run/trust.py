"""What a file from elsewhere may decide: a checkpoint is data, and so is the directory of a run that is gone on with.

A config names classes by import path and says what they are given, so it can do what a script can. The one on the
command line is the user's. The one inside a checkpoint, or in a run directory, may be anybody's: of it only classes of
known packages are taken, and of a checkpoint nothing that decides where something is written, sent, started or
downloaded. `--trust` takes all; a class that the command line or a config file given there names is taken too.

The parser of the command line makes what it can of a text: an import path, a file's content, YAML or JSON. So texts are
looked at as it reads them, and a class is judged by what its name leads to: a module has what it imports, too.
"""

import collections.abc
import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from stratoscope.errors import Refused
from stratoscope.files.bounded import plain, yaml_value
from stratoscope.run.masking import without_masks

PACKAGES = ("stratoscope.", "torch.", "torchvision.", "timm.", "lightning.pytorch.cli.")
INSTRUMENTS = "stratoscope.callbacks"  # of whose __all__ all files go to the run's own directory
OF_A_RUN = (*PACKAGES, "lightning.")
ELSEWHERE = ("logger", "plugins", "profiler", "default_root_dir", "model_registry")  # of a trainer: they write and send
KEYS = {"class_path", "init_args", "dict_kwargs"}
PLAIN = (str, int, float, bool, NoneType, Path)


def of_checkpoint(
    stored: Any, file: str, named: Collection[str], trusted: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """The part of a checkpoint's config that is taken.

    Args:
        stored: The config, as the file has it.
        file: Its name, for messages.
        named: Words of the command line; classes among them are the user's own choice.
        trusted: Whether to take all of it.

    Returns:
        Seed, threads, model, data, and of the trainer plain values and stratoscope's instruments; and the names of what
        else there was.

    Raises:
        Refused: If the model or the data need a class or function of another package.
    """
    try:
        config = without_masks(plain(stored))
    except ValueError as error:
        raise Refused(f"--ckpt_path: the config in {file} is damaged: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("trainer") or {}, dict):
        raise Refused(f"--ckpt_path: the config in {file} is damaged: it is no mapping")
    if trusted:
        return config, []
    taken = {name: config[name] for name in ("seed_everything", "threads") if name in config}
    for part in ("model", "data"):
        if config.get(part) is None:
            continue
        for what in _of_part(config[part], part, PACKAGES, named):
            raise Refused(
                f"--ckpt_path: the config in {file} has {what}, and a checkpoint may be anybody's: only classes of "
                f"stratoscope, torch, torchvision and timm are taken from it; give --trust if you trust the file, or "
                f"name the class yourself, as --{part} {_class_of(config[part]) or 'NAME'}"
            )
        taken[part] = config[part]
    if "data" in taken:
        taken["data"] = _without_downloads(taken["data"])
    taken["trainer"], left_out = _of_trainer(config.get("trainer") or {}, named)
    return taken, left_out


def check_run(config: dict[str, Any], path: Path) -> None:
    """Refuse to go on with a run whose config needs other packages, or leads out of the run's directory.

    Args:
        config: Of the run.
        path: Its directory.

    Raises:
        Refused: If so.
    """
    for part, value in config.items():
        for what in _of_part(value, part, OF_A_RUN, ()):
            raise Refused(
                f"resume: {path}/config.yaml has {what}, and a run directory may be anybody's: if this one is yours, "
                "give --trust, or the command that began it"
            )


def _of_part(value: Any, part: str, packages: tuple[str, ...], named: Collection[str]) -> Iterator[str]:
    """What of a top-level part of a config is not taken: the model and the data are classes with their arguments."""
    if part in {"model", "data"} and value is not None and _class_of(value) is None:
        yield f"{part} without a class_path"
    else:
        yield from _foreign(value, part, packages, named)


def _without_downloads(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: False if name == "download" and inner else _without_downloads(inner) for name, inner in value.items()
        }
    return [_without_downloads(inner) for inner in value] if isinstance(value, list) else value


def _of_trainer(trainer: dict[str, Any], named: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """What is taken of a trainer's config, and the names of the rest."""
    taken: dict[str, Any] = {}
    left_out: list[str] = []
    for name, value in trainer.items():
        if name == "callbacks":
            listed = value if isinstance(value, list) else [] if value is None else [value]
            ours = [one for one in listed if _is_instrument(one, named)]
            left_out += [f"trainer.callbacks {_class_of(one) or one}" for one in listed if one not in ours]
            taken |= {"callbacks": ours} if ours else {}
        elif name in ELSEWHERE or not _is_name(name) or any(_foreign(value, name, (), ())):
            listed = value if isinstance(value, list) else [value]
            left_out += [f"trainer.{name} {_class_of(one) or one}" for one in listed if one not in (None, False, True)]
        else:
            taken[name] = value
    return taken, left_out


def _is_instrument(part: Any, named: Collection[str]) -> bool:
    listed = importlib.import_module(INSTRUMENTS)
    kind = _found(str(_class_of(part)), PACKAGES) if _class_of(part) else None
    ours = kind is not None and any(kind is getattr(listed, name) for name in listed.__all__)
    return ours and not any(_foreign(part, "", PACKAGES, named))


def _foreign(
    value: Any, key: str, packages: tuple[str, ...], named: Collection[str], wanted: Any = object
) -> Iterator[str]:
    """What in a config would be imported from other packages, or leads elsewhere.

    Args:
        value: A part of the config.
        key: Its dotted name.
        packages: Beginnings of the import paths that are taken.
        named: Import paths that are taken too.
        wanted: Type of the argument; `object` where it is not known.
    """
    if isinstance(value, dict) and "class_path" in value:
        path = value["class_path"]
        if not isinstance(path, str) or value.keys() - KEYS:
            yield f"{key} {path}"
            return
        kind = None if path in named else _found(path, packages)
        if path not in named and not inspect.isclass(kind):
            yield f"{key} {path}"
            return
        arguments = [value.get(name) or {} for name in ("init_args", "dict_kwargs")]
        if not all(isinstance(given, dict) and all(map(_is_name, given)) for given in arguments):
            yield f"{key} without arguments that can be read"
            return
        hints = {} if kind is None else _hints(kind)
        for name, inner in (one for given in arguments for one in given.items()):
            yield from _foreign(inner, f"{key}.{name}", packages, named, hints.get(name, object))
            if path.startswith("lightning."):
                yield from (f"{key}.{name} {text}" for text in _texts(inner) if _leads_out(text))
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _foreign(inner, f"{key}.{name}", packages, named, _inside(wanted, dict))
    elif isinstance(value, list):
        for inner in value:
            yield from _foreign(inner, key, packages, named, _inside(wanted, list))
    elif isinstance(value, str) and not _is_text(wanted) and value not in named:
        yield from _foreign_text(value, key, packages, named, wanted)


def _foreign_text(text: str, key: str, packages: tuple[str, ...], named: Collection[str], wanted: Any) -> Iterator[str]:
    """The same of a text for an argument that need not be one: the parser makes of it what it can."""
    if _names_code(text):
        what = _found(text, packages)
        if not inspect.isclass(what) and not (inspect.isroutine(what) and _is_function(wanted)):
            yield f"{key} {text}"
        return
    try:
        meant = yaml_value(text)
    except ValueError:  # whatever another reader would make of it
        yield f"{key} {text[:60]}"
        return
    if meant != text:
        yield from _foreign(meant, key, packages, named, wanted)


def _found(path: str, packages: tuple[str, ...]) -> Any:
    """What an import path leads to, if that is a class or function of the packages; no other is imported for it.

    Args:
        path: The import path, by whatever module has it.
        packages: Beginnings of the import paths that are taken.
    """
    parts = path.split(".")
    if not path.startswith(packages or "\0") or not all(part.isidentifier() for part in parts):
        return None
    for number in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:number]))
        except ModuleNotFoundError:  # a class in a class, or none
            continue
        except Exception:
            return None
        for part in parts[number:]:
            found = getattr(found, part, None)
            if isinstance(found, ModuleType):  # which a module has imported
                return None
        home = f"{getattr(found, '__module__', None)}.{getattr(found, '__qualname__', '')}"
        return found if home.startswith(packages) else None
    return None


def _hints(kind: type) -> dict[str, Any]:
    """Types of the arguments of a class, those it passes on to its bases too; without those that are not known."""
    hints: dict[str, Any] = {}
    for base in reversed(inspect.getmro(kind)):
        try:
            made = vars(base).get("__init__")  # torch imports some names of its annotations for type checkers only
            known = {**vars(collections.abc), **getattr(made, "__globals__", {})}
            hints |= {} if made is None else get_type_hints(made, localns=known)
        except Exception:  # names that only a type checker knows
            continue
    return hints


def _inside(wanted: Any, kind: type) -> Any:
    """Type of what is in a list or mapping; `object` where it is not known."""
    origin, parts = get_origin(wanted), get_args(wanted)
    if origin in (Union, UnionType):
        found = [_inside(one, kind) for one in parts if isinstance(get_origin(one), type)]
        known = [one for one in found if one is not object]
        return known[0] if len(known) == 1 else object
    if isinstance(origin, type) and issubclass(kind, origin) and parts:
        return parts[-1]
    return object


def _is_text(wanted: Any) -> bool:
    """Whether a string for an argument of some type stays a string."""
    origin = get_origin(wanted)
    if origin in (Union, UnionType, list, tuple, dict):
        return all(_is_text(one) for one in get_args(wanted) if one is not Ellipsis)
    return origin is Literal or wanted in PLAIN


def _is_function(wanted: Any) -> bool:
    """Whether an argument of some type may be a function."""
    if get_origin(wanted) in (Union, UnionType, list):
        return any(_is_function(one) for one in get_args(wanted))
    return wanted is Callable or get_origin(wanted) is Callable


def _names_code(text: str) -> bool:
    """Whether a string could be taken for an import path or for the file of another config."""
    parts = text.split(".")
    try:
        if len(parts) > 1 and all(part.isidentifier() for part in parts):
            if parts[0] in sys.modules or find_spec(parts[0]) is not None:
                return True
        return Path(text).is_file()
    except (OSError, ValueError, ImportError):  # too long, or with a null byte
        return False


def _leads_out(text: str) -> bool:
    return "://" in text or text.startswith(("~", "/", "\\")) or ".." in Path(text).parts or Path(text).is_absolute()


def _class_of(part: Any) -> str | None:
    return str(part.get("class_path")) if isinstance(part, dict) and "class_path" in part else None


def _is_name(name: Any) -> bool:
    """Whether a key is an argument's name, and no path to one within it, such as logger.class_path."""
    return isinstance(name, str) and name.isidentifier()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value
