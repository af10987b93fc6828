"""The parser of the commands that are not LightningCLI's."""

import argparse
import re
from typing import NoReturn

from stratoscope.errors import Refused, nearest


class OneLineParser(argparse.ArgumentParser):
    """Raises what is wrong in one line, with the usage; no option can be abbreviated."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(command, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Refuse the input in one line.

        Raises:
            Refused: Always.
        """
        command = self.prog.removeprefix("stratoscope ")
        if unknown := re.search(r"unrecognized arguments: (-\S+)", message):
            option = unknown[1].split("=")[0]
            close = nearest(option, self._option_string_actions)
            raise Refused(f"{command}: unknown option {option}{close or f'; {self._short_usage()}'}")
        words = message.replace("argument ", "", 1).replace("invalid int value:", "expected a whole number, got")
        words = words.replace("the following arguments are required: ", "missing: ").replace(
            "unrecognized arguments", "too many words"
        )
        raise Refused(f"{command}: {words}; {self._short_usage()}")

    def _short_usage(self) -> str:
        return " ".join(self.format_usage().split()).replace(" [-h]", "")
