"""The pictures of probes, into which a third of a small run's time goes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from stratoscope.callbacks.instruments import linear_probes, online_probes
from stratoscope.files.atomic import replacing


def draw_nothing(put: Callable[[Any, str, Any], None] = setattr) -> None:
    """Make them empty files, for tests of all else that a run leaves.

    Args:
        put: Sets attributes; that of pytest's monkeypatch takes it back after the test.
    """
    for module, name in (
        (linear_probes, "draw_separability"),
        (linear_probes, "draw_measures"),
        (online_probes, "draw_separability"),
    ):
        assert callable(getattr(module, name))
        put(module, name, _empty)


def _empty(*words: Any) -> None:
    """Write an empty file, whole, to the path that comes last."""
    with replacing(words[-1]) as part:
        Path(part).touch()
