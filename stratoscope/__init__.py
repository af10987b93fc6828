"""Stratoscope: train a network on true or corrupted data and know, at every epoch, what every layer knows."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

try:
    __version__ = version("stratoscope")
except PackageNotFoundError:  # a clone that was never installed
    __version__ = "0+unknown"

_root = Path(__file__).resolve().parents[1]
if (_root / "pyproject.toml").is_file():  # a clone, not a wheel: the folders are imported from their true place
    __path__.insert(0, str(_root))
