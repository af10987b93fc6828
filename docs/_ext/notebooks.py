"""The notebooks of `notebooks/` as pages: their text and code, without what it gives, which is not stored."""

import json
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = ("memorising", "own_network")


def notebook(name: str) -> str:
    """A notebook as Markdown, without its title, which the page has.

    Args:
        name: Of the file, without its ending.
    """
    cells = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    parts = [_part(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    return "\n\n".join([parts[0].partition("\n")[2].strip(), *parts[1:]])


def _part(kind: str, text: str) -> str:
    """A cell; its links, which lead from the folder of notebooks, lead from that of pages."""
    return f"```python\n{text}\n```" if kind == "code" else text.replace("](../docs/", "](../")
