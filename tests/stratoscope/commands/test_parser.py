"""Tests of stratoscope/commands/parser.py: what is wrong with the words of a command, in one line."""

import pytest

from stratoscope.commands.parser import OneLineParser
from stratoscope.errors import Refused


@pytest.fixture
def parser() -> OneLineParser:
    """The parser of a command with a number, a choice and a file."""
    made = OneLineParser("stratoscope sort", "Sort a file.")
    made.add_argument("file", metavar="FILE")
    made.add_argument("--number", type=int, default=10)
    made.add_argument("--by", choices=["name", "time"])
    return made


USAGE = "usage: stratoscope sort [--number NUMBER] [--by {name,time}] FILE"
WRONG = {
    "f --nmber 3": "sort: unknown option --nmber; did you mean --number?",
    "f --nmber=3": "sort: unknown option --nmber; did you mean --number?",
    "f -x": f"sort: unknown option -x; {USAGE}",
    "f --num 3": "sort: unknown option --num; did you mean --number?",
    "f --number x": f"sort: --number: expected a whole number, got 'x'; {USAGE}",
    "f --number": f"sort: --number: expected one argument; {USAGE}",
    "f g h": f"sort: too many words: g h; {USAGE}",
    "": f"sort: missing: FILE; {USAGE}",
}


@pytest.mark.parametrize("words", WRONG)
def test_what_is_wrong_is_one_line_with_what_would_be_right(words: str, parser: OneLineParser) -> None:
    """The nearest option, or else the usage; abbreviations are unknown options."""
    with pytest.raises(Refused) as refusal:
        parser.parse_args(words.split())
    assert str(refusal.value) == WRONG[words]


def test_a_choice_that_there_is_not_is_told_those_there_are(parser: OneLineParser) -> None:
    """By their names."""
    with pytest.raises(Refused, match=r"^sort: --by: invalid choice: 'size' \(choose from .*name.*time.*\); usage: "):
        parser.parse_args(["f", "--by", "size"])


def test_what_is_right_is_parsed(parser: OneLineParser) -> None:
    """As argparse does."""
    given = parser.parse_args(["f", "--number", "3", "--by=time"])
    assert (given.file, given.number, given.by) == ("f", 3, "time")


def test_help_says_what_the_command_does(parser: OneLineParser, capsys: pytest.CaptureFixture[str]) -> None:
    """And ends well."""
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(["--help"])
    assert not stop.value.code
    printed = capsys.readouterr().out
    assert printed.startswith("usage: stratoscope sort [-h]")
    assert "Sort a file." in printed
