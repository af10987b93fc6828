"""`stratoscope doctor`: its words. What is examined is in `examination`, which imports torch."""

from collections.abc import Sequence

from stratoscope.commands.parser import OneLineParser


def parser(command: str = "doctor") -> OneLineParser:
    """The parser of the command."""
    made = OneLineParser(f"stratoscope {command}", "What this machine has, and what would go wrong on it.")
    data = "Folder with CIFAR-10 or CIFAR-100, to be compared with their published digests."
    made.add_argument("data", metavar="FOLDER", nargs="?", help=data)
    return made


def doctor(words: Sequence[str]) -> int:
    """The command.

    Args:
        words: The command line.

    Returns:
        The exit code: 0 if nothing is wrong.
    """
    asked = parser().parse_args(words[1:])
    from stratoscope.commands.examination import examined

    text, healthy = examined(asked.data)
    print(text)
    return int(not healthy)
