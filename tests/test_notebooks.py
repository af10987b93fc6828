"""The notebooks run from top to bottom, and are stored without what that gives."""

import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)


def read(file: Path) -> Any:
    """A notebook."""
    return nbformat.read(file, as_version=4)  # type: ignore[no-untyped-call]


@each_notebook
def test_a_notebook_is_small_and_plain(file: Path) -> None:
    """No outputs, and nothing but Python: JupyterLab and VS Code take it alike; what it imports of ours is public."""
    cells = read(file).cells
    nbformat.validate(read(file))
    assert file.stat().st_size < 20_000
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    text = "\n".join(cell.source for cell in code)
    assert not re.findall(r"^\s*[%!]", text, re.MULTILINE)
    ours = set(re.findall(r"^\s*(?:from|import) (stratoscope\S*)", text, re.MULTILINE))
    assert ours <= {
        "stratoscope",
        *(f"stratoscope.{part}" for part in ("callbacks", "datamodules", "models", "probes")),
    }
    for target in re.findall(r"\]\(([^)#]+)", "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")):
        assert (file.parent / target).is_file(), target


@pytest.mark.slow
@each_notebook
def test_a_notebook_runs(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder; every picture is shown, whether or not something has imported pyplot, and no error told."""
    for name in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "own"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (tmp_path / "own").mkdir()
    found = read(file)
    NotebookClient(found, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    for cell in found.cells:
        drawn = [one for one in cell.get("outputs", []) if "image/png" in one.get("data", {})]
        plots = cell.cell_type == "code" and "\nplot" in re.sub(r"\S*\.plot\(", "plot(", f"\n{cell.source}")
        assert len(drawn) == plots, cell.source
