"""What is raised for input that cannot be run; apart from refusal.py, which imports Lightning."""

from collections.abc import Iterable
from difflib import get_close_matches

from stratoscope.printable import one_printable_line


class Refused(Exception):
    """Input that cannot be run; its text is the whole message.

    Args:
        text: What is wrong, where, and what would be right; names in it may be anybody's.
    """

    def __init__(self, text: str) -> None:
        super().__init__(one_printable_line(text))


def nearest(name: str, names: Iterable[str], prefix: str = "") -> str:
    """What was probably meant, as the end of a message; nothing if no name is near.

    Args:
        name: What was given.
        names: What there is.
        prefix: What stands before a name in the message.
    """
    close = get_close_matches(name, sorted({*names} - {name}), n=1, cutoff=0.6)
    return f"; did you mean {prefix}{close[0]}?" if close else ""
