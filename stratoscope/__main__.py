"""`stratoscope` and `python -m stratoscope`: commands that only look at runs start without Lightning and torch."""

import sys

from stratoscope.dependencies import missing, unreadable_rank
from stratoscope.output import unbroken_output


@unbroken_output()
def main() -> None:
    """Run the command of this process.

    Raises:
        SystemExit: As `stratoscope.cli.main`; and with code 2 if packages are missing, or a rank is no number.
    """
    if gone := missing():
        print(f"stratoscope: not installed: {', '.join(gone)}; python -m pip install {' '.join(gone)}", file=sys.stderr)
        raise SystemExit(2)
    from stratoscope.printable import printable
    from stratoscope.refused import Refused
    from stratoscope.results_commands import COMMANDS, look

    if sys.argv[1:2] and sys.argv[1] in COMMANDS and "--debug" not in sys.argv:
        try:
            look(sys.argv[1:])
        except Refused as refusal:
            print(f"stratoscope: {refusal}", file=sys.stderr)
            raise SystemExit(2) from None
        except OSError as error:  # such as a name that is too long
            print(f"stratoscope: {printable(error)[:300]}", file=sys.stderr)
            raise SystemExit(2) from None
        return
    if rank := unreadable_rank():
        print(f"stratoscope: {rank} in the environment must be a whole number: unset it", file=sys.stderr)
        raise SystemExit(2)
    from stratoscope.cli import main as run

    run()


if __name__ == "__main__":
    main()
