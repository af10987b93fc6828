"""A server on this machine that answers as W&B's does, as far as a run needs it, and can fall silent."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class WandbServer:
    """What the server was told, and whether it still answers.

    Args:
        silent_after: Part of a query after whose answer it falls silent for good; nothing for never.
        silent_at: Part of a query that it does not even answer, nor anything later.
    """

    def __init__(self, silent_after: str = "", silent_at: str = "") -> None:
        self.silent_after, self.silent_at = silent_after, silent_at
        self.history: list[dict[str, Any]] = []
        self.queries: list[str] = []
        self.uploads: list[str] = []
        self.over, self._silent = threading.Event(), threading.Event()

    def answer(self, path: str, host: str, body: dict[str, Any]) -> dict[str, Any]:
        """Answer a request, or never."""
        query, variables = body.get("query", ""), body.get("variables", {})
        if self.silent_at and self.silent_at in query:
            self._silent.set()
        if self._silent.is_set():
            self.over.wait(60)
            return {}
        self.queries.append(query)
        if self.silent_after and self.silent_after in query:
            self._silent.set()
        if "upsertBucket" in query:
            project = {"id": "1", "name": variables["project"], "entity": {"id": "2", "name": "me"}}
            bucket = {"id": "3", "name": variables["name"], "displayName": variables["displayName"], "config": "{}"}
            return {"data": {"upsertBucket": {"bucket": {**bucket, "project": project}, "inserted": True}}}
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"http://{host}/{name}"} for name in variables["files"]]
            return {"data": {"createRunFiles": {"runID": "3", "uploadHeaders": [], "files": files}}}
        if "viewer" in query:
            return {"data": {"viewer": {"id": "4", "entity": "me", "username": "me", "teams": {"edges": []}}}}
        if path.endswith("file_stream"):
            lines = body.get("files", {}).get("wandb-history.jsonl", {}).get("content", [])
            self.history += [json.loads(line) for line in lines]
        return {"data": {}}


@contextmanager
def wandb_server(silent_after: str = "", silent_at: str = "") -> Iterator[tuple[WandbServer, str]]:
    """Serve, and give what is told and the address.

    Args:
        silent_after: As for `WandbServer`.
        silent_at: The same.
    """
    state = WandbServer(silent_after, silent_at)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._send(state.answer(self.path, str(self.headers["Host"]), {}))

        def do_PUT(self) -> None:
            self._body()
            state.uploads.append(self.path)
            self._send({})

        def do_POST(self) -> None:
            body = self._body()
            sent = json.loads(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self._send(state.answer(self.path, str(self.headers["Host"]), sent))

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _send(self, answer: dict[str, Any]) -> None:
            data = b"" if self.command == "HEAD" else json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: object, client_address: object) -> None:
            """Nothing: nobody waits for the late answers."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state, f"http://127.0.0.1:{server.server_port}"
    finally:
        state.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
