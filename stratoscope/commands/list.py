"""`stratoscope list`: its words. What is listed is in `catalogue`, which imports all there is to be listed."""

from collections.abc import Sequence

from stratoscope.commands.parser import OneLineParser


def parser(command: str = "list") -> OneLineParser:
    """The parser of the command."""
    return OneLineParser(f"stratoscope {command}", "List what --model, --data, --trainer.callbacks and so on can name.")


def print_list(words: Sequence[str]) -> int:
    """The command.

    Args:
        words: The command line.

    Returns:
        The exit code, 0.
    """
    parser().parse_args(words[1:])
    from stratoscope.commands.catalogue import listed

    print(listed())
    return 0
