"""`stratoscope` and `python -m stratoscope`."""

from stratoscope.commands.output import unbroken_output
from stratoscope.commands.table import main as run


@unbroken_output()
def main() -> None:
    """Run the command of this process."""
    run()


if __name__ == "__main__":
    main()
