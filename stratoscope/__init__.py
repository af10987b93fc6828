"""Stratoscope: train a network on true or corrupted data and know, at every epoch, what every layer knows."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stratoscope.plotting import plot_layers as plot_layers
    from stratoscope.results.frame import load_runs as load_runs

try:
    __version__ = version("stratoscope")
except PackageNotFoundError:  # a clone that was never installed
    __version__ = "0+unknown"

_root = Path(__file__).resolve().parents[1]
if (_root / "pyproject.toml").is_file():  # a clone, not a wheel: the folders are imported from their true place
    __path__.insert(0, str(_root))

if not TYPE_CHECKING:  # where it would let any misspelt name pass

    def __getattr__(name: str) -> Any:
        """Import what is offered here when it is used, so that importing the package stays cheap.

        Raises:
            AttributeError: If there is no such name.
        """
        if name == "load_runs":
            from stratoscope.results.frame import load_runs

            return load_runs
        if name == "plot_layers":
            from stratoscope.plotting import plot_layers

            return plot_layers
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
