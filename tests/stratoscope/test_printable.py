"""Tests of stratoscope/printable.py: what steers a terminal is shown, not sent."""

import unicodedata

import pytest

from stratoscope.printable import one_printable_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),  # colours
        ("\x9b31m", r"\x9b31m"),  # CSI in one character
        ("bell\x07", r"bell\x07"),
        ("over\rwritten", r"over\rwritten"),
        ("de\x7fleted", r"de\x7fleted"),
        ("\u202egpj.exe", r"\u202egpj.exe"),  # from right to left
        ("\u2028", r"\u2028"),
        ("l\udce4ufe", r"l\udce4ufe"),  # a byte that is not UTF-8, as Python has it in names of files
    ],
)
def test_what_steers_a_terminal_is_written_out(text: str, shown: str) -> None:
    """As Python writes it."""
    assert printable(text) == shown


@pytest.mark.parametrize("text", ["", "läufe/größe", "漢字", "a\tb\n", "\\x1b", "±95 %"])
def test_all_else_stays(text: str) -> None:
    """Letters of any script, tabs and ends of lines."""
    assert printable(text) == text


def test_no_control_character_is_left() -> None:
    """Of all there are in Unicode; nor a mark that turns the direction of what follows."""
    directions = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    for number in range(0x3000):
        letter = chr(number)
        steers = unicodedata.category(letter) == "Cc" or unicodedata.bidirectional(letter) in directions
        assert not steers or letter in "\t\n" or printable(letter).isascii(), hex(number)


def test_one_line_has_spaces_for_ends_of_lines_and_tabs() -> None:
    """One for several of them."""
    assert one_printable_line("  a\r\n\n\tb\x00 c\n") == r"a b\x00 c"


def test_anything_has_a_text() -> None:
    """What `str` makes of it."""
    assert printable(ValueError("a\x1b")) == r"a\x1b"
    assert one_printable_line(None) == "None"
