"""Tests of stratoscope/files/atomic.py: a file appears whole, or not at all."""

import os
from pathlib import Path

import pytest

from stratoscope.files.atomic import replacing


def test_a_file_is_replaced_when_all_is_written(tmp_path: Path) -> None:
    """Until then the old one is there; folders that are missing are made."""
    file = tmp_path / "new" / "folder" / "x.txt"
    for content in ("first", "second"):
        with replacing(file) as part:
            part.write_text(content)
            assert part.parent == file.parent
            assert file.exists() == (content == "second")
        assert file.read_text() == content
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    """Also one that is no Exception."""
    file = tmp_path / "x.txt"
    file.write_text("old")

    def written_half() -> None:
        with replacing(file) as part:
            part.write_text("half")
            raise error

    with pytest.raises(error):
        written_half()
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("x.txt", "old")]


def test_a_block_that_writes_nothing_fails(tmp_path: Path) -> None:
    """The old file stays."""
    (tmp_path / "x.txt").write_text("old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "x.txt"):
        pass
    assert (tmp_path / "x.txt").read_text() == "old"


def test_a_link_in_the_place_of_the_part_is_not_followed(tmp_path: Path) -> None:
    """Nor is one in the place of the file, which is replaced itself."""
    (tmp_path / "precious").write_text("kept")
    for name in (f".x.txt.{os.getpid()}.part", "x.txt"):
        (tmp_path / name).symlink_to(tmp_path / "precious")
    with replacing(tmp_path / "x.txt") as part:
        part.write_text("new")
    assert (tmp_path / "precious").read_text() == "kept"
    assert (tmp_path / "x.txt").read_text() == "new"
    assert not (tmp_path / "x.txt").is_symlink()
