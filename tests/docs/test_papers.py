"""Tests of docs/_ext/papers.py."""

import re
from pathlib import Path

from docs._ext.papers import PAPERS, cited, linked, papers

ROOT = Path(__file__).parents[2]
# authors and year: one name, two with "&", more with commas, or "et al."
CITATION = re.compile(r"[A-Z][\w-]+(?:, [A-Z][\w-]+)*(?: & [A-Z][\w-]+| et al\.) \(?(?:19|20)\d\d")


def test_all_that_is_cited_is_there() -> None:
    """Every citation in the four folders, of several authors at least."""
    for folder in ("probes", "models", "datamodules", "callbacks"):
        for file in (ROOT / folder).rglob("*.py"):
            text = re.sub(r"\s+#? *", " ", file.read_text())
            for citation in CITATION.findall(text):
                assert cited(citation) == [citation.replace("(", "")], f"{citation} in {file}"


def test_citations_lead_to_the_papers() -> None:
    """However the year is written, and only to what is on the page."""
    text = linked("see Alain & Bengio (2016, section 3) and Wilson 1927")
    assert text == "see [Alain & Bengio (2016](#alain-bengio-2016), section 3) and [Wilson 1927](#wilson-1927)"
    for target in re.findall(r"\(#(.+?)\)", " ".join(map(linked, PAPERS))):
        assert f"({target})=\n" in papers()
