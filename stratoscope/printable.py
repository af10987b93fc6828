"""Text that may be anybody's, before it reaches a terminal: what would steer the terminal is shown, not sent."""

import re

# C0 and C1 controls (ESC, CSI and OSC among them), and the marks that turn the direction of what follows
STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object) -> str:
    r"""A text with all that steers a terminal written out, such as `\x1b` for ESC; tabs and ends of lines stay.

    Args:
        text: Anything; what `str` makes of it.
    """
    return STEERING.sub(lambda found: ascii(found[0])[1:-1], str(text))


def one_printable_line(text: object) -> str:
    """The same with spaces for tabs and ends of lines.

    Args:
        text: As for `printable`.
    """
    return printable(re.sub(r"[\t\r\n]+", " ", str(text)).strip())
