"""`stratoscope` and `python -m stratoscope`: commands that only look at runs start without Lightning and torch."""

import sys

from stratoscope.dependencies import missing


def main() -> None:
    """Run the command of this process.

    Raises:
        SystemExit: As `stratoscope.cli.main`; and with code 2 if packages are missing.
    """
    if gone := missing():
        print(f"stratoscope: not installed: {', '.join(gone)}; python -m pip install {' '.join(gone)}", file=sys.stderr)
        raise SystemExit(2)
    from stratoscope.refused import Refused
    from stratoscope.results_commands import COMMANDS, look

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
