"""The W&B server, which is asked whether it is there before anything that would wait for its answer."""

import os
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request, urlopen

PATIENCE = 3  # seconds for the server to answer


def server() -> str:
    """Address of the W&B server."""
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")


def reachable() -> bool:
    """Whether the W&B server answers, whatever it says; known within some seconds."""
    try:
        with urlopen(Request(server(), method="HEAD"), timeout=PATIENCE):  # through the proxy, where there is one
            return True
    except HTTPError:
        return True
    except (OSError, ValueError, HTTPException):
        return False
