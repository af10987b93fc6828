"""`stratoscope` and `python -m stratoscope`: commands that only look at runs start without Lightning and torch."""

import sys

from stratoscope.refused import Refused
from stratoscope.results_commands import COMMANDS, look


def main() -> None:
    """Run the command of this process.

    Raises:
        SystemExit: As `stratoscope.cli.main`.
    """
    if sys.argv[1:2] and sys.argv[1] in COMMANDS and "--debug" not in sys.argv:
        try:
            look(sys.argv[1:])
        except Refused as refusal:
            print(f"stratoscope: {refusal}", file=sys.stderr)
            raise SystemExit(2) from None
        return
    from stratoscope.cli import main as run

    run()


if __name__ == "__main__":
    main()
