"""What this package needs before it can be imported, and what of it is missing, also in a clone never installed."""

import os
import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")  # variables in which Lightning looks for a rank
OPTIONAL = {"wandb"}  # imported by runs that log to it, and by nothing else


def requirements() -> list[str]:
    """What is needed, such as `torch>=2.11`, from the installed metadata or else from the clone's pyproject.toml."""
    try:
        return [line for line in requires("stratoscope") or [] if ";" not in line]
    except PackageNotFoundError:
        project = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text())["project"]
        return list(project["dependencies"])


def missing() -> list[str]:
    """Packages that every run needs and that are not installed."""
    names = [re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0] for line in requirements()]
    return [name for name in names if name not in OPTIONAL and not _installed(name)]


def unreadable_rank() -> str | None:
    """The first variable, with its value, that should be a rank and is not a number: Lightning cannot be imported."""
    return next((f"{name}={os.environ[name]}" for name in RANKS if not os.environ.get(name, "0").isdecimal()), None)


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
