"""Tests of docs/_ext/contents.py."""

from docs._ext.contents import DOCS, contents


def test_every_page_is_in_the_contents_once() -> None:
    """Or nobody would find it; the index has the contents itself."""
    pages = {page.relative_to(DOCS).with_suffix("").as_posix() for page in DOCS.rglob("*.md")} - {"index"}
    assert sorted(line for line in contents().splitlines() if line in pages) == sorted(pages)
