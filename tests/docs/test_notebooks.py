"""Tests of docs/_ext/notebooks.py."""

import re

from docs._ext.notebooks import FOLDER, NOTEBOOKS, notebook

DOCS = FOLDER.parent / "docs"


def test_every_notebook_is_a_page() -> None:
    """Whole, under the title that the page has; its links lead somewhere."""
    assert {file.stem for file in FOLDER.glob("*.ipynb")} == {*NOTEBOOKS}
    for name in NOTEBOOKS:
        page, text = (DOCS / "notebooks" / f"{name}.md"), notebook(name)
        assert text.count("```python") == text.count("\n```\n") + text.endswith("```") >= 7
        assert not re.findall("^# ", re.sub("```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
        for target in re.findall(r"\]\(([^)]+)\)", text):
            assert (page.parent / target).is_file(), target
