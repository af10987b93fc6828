"""Tests of callbacks/instruments/wandb_server.py."""

import socket
from http.server import HTTPServer, SimpleHTTPRequestHandler
from threading import Thread

import pytest

from stratoscope.callbacks.instruments import wandb_server
from stratoscope.callbacks.instruments.wandb_server import reachable, server

NOBODY = "http://127.0.0.1:9"


def test_a_server_that_answers_is_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """And none that is silent, at a port where nobody listens, or an address that is none."""
    monkeypatch.setattr(wandb_server, "PATIENCE", 0.2)
    monkeypatch.setenv("WANDB_BASE_URL", NOBODY)
    assert server() == NOBODY
    assert not reachable()
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as answering:
        Thread(target=answering.handle_request, daemon=True).start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{answering.server_port}")
        assert reachable()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert not reachable()
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:no")
    assert not reachable()
