"""Keys and passwords that are given as options: used, and written down nowhere."""

import re
from collections.abc import Sequence
from typing import Any

MASK = "(masked)"
PASSWORD = r"(?:.*[_.-])?(?:passw(?:or)?d|passphrase|pwd)"
KEYS = r"api_?keys?|access_?keys?|private_?key|secret_?key|secrets?|credentials?"
SERVICES = "hf|hub|hugging_?face|wandb|neptune|comet|mlflow|clearml|git|github|gitlab|slack|telegram|discord|aws"
KINDS = "api|access|auth|oauth|bearer|refresh|session|secret|security|id|jwt|login|user|bot|personal|private|service"
# a token is also what networks read: n_token and mask_token are none of these
TOKEN = rf"(?:.*[.])?(?:(?:.*[_-])?(?:{SERVICES}|{KINDS})[_-]?)?token"
NUMERIC = re.compile(PASSWORD, re.IGNORECASE)  # may be a number
SECRET = re.compile(rf"{PASSWORD}|(?:.*[_.-])?(?:{KEYS})|{TOKEN}", re.IGNORECASE)
SHORTEST = 6  # of what is masked wherever it stands: a shorter text is a part of many words
LOGIN = re.compile(r"://[^/@\s]*:[^/@\s]+@")  # an address with a password


def masked(config: Any, name: str = "") -> Any:
    """A config with a mask in place of every key, password and the like.

    Args:
        config: Mappings, lists and plain values.
        name: Of the option that has it.
    """
    if isinstance(config, dict):
        return {key: masked(value, str(key)) for key, value in config.items()}
    if isinstance(config, list):
        return [masked(value, name) for value in config]
    return MASK if _secret(name, config) else config


def without_masks(config: Any) -> Any:
    """A config without the options that are masked, so that their defaults, such as the environment, hold.

    Args:
        config: Mappings, lists and plain values.
    """
    if isinstance(config, dict):
        return {key: without_masks(value) for key, value in config.items() if value != MASK}
    return [without_masks(value) for value in config if value != MASK] if isinstance(config, list) else config


def masked_words(words: Sequence[str], config: Any = None) -> list[str]:
    """A command line with masks.

    Args:
        words: The command line.
        config: The config that was made of it, from which the keys are known wherever they stand.
    """
    found, before = [], ""
    for word in words:
        option, equals, value = word.partition("=")
        if not word.startswith("-") and before.startswith("-") and _secret(before.lstrip("-"), word):
            word = MASK
        elif word.startswith("-") and equals and _secret(option.lstrip("-"), value):
            word = f"{option}={MASK}"
        for secret in _secrets(config):
            if len(secret) >= SHORTEST:
                word = word.replace(secret, MASK)
        found.append(word)
        before = word
    return found


def _secret(name: str, value: Any) -> bool:
    if isinstance(value, str) and LOGIN.search(value):
        return True
    if isinstance(value, bool) or not value or not isinstance(value, str | int):
        return False
    # a word of the command line may be a number
    text = isinstance(value, str) and not (len(value) < SHORTEST and value.lstrip("+-").isdecimal())
    return bool((SECRET if text else NUMERIC).fullmatch(name))


def _secrets(config: Any, name: str = "") -> list[str]:
    """All that is masked, the longest first."""
    if isinstance(config, dict):
        found = [secret for key, value in config.items() for secret in _secrets(value, str(key))]
    elif isinstance(config, list):
        found = [secret for value in config for secret in _secrets(value, name)]
    else:
        found = [str(config)] if _secret(name, config) and config != MASK else []
    return sorted(set(found), key=len, reverse=True)
