"""A proxy in front of the S3 service, one request per connection; a test's rule decides on each."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, parse_headers
from io import BufferedReader
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import NamedTuple

from stack.settings import HOST


class Request(NamedTuple):
    """What a client asks for."""

    method: str
    path: str
    is_conditional: bool


# Called before a request is handed on, which it may hold; whether its answer is delivered.
Rule = Callable[[Request], bool]


_OF_THE_CONNECTION = ("connection", "expect", "transfer-encoding")


class _Server(ThreadingTCPServer):
    daemon_threads = True
    rule: Rule
    upstream: str


class _Handler(StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        assert isinstance(self.rfile, BufferedReader)
        method, path, _ = self.rfile.readline().decode("latin1").split()
        headers = parse_headers(self.rfile)
        if "100-continue" in headers.get("Expect", "").lower():
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.rfile.read(int(headers.get("Content-Length") or 0))
        is_answered = self.server.rule(Request(method, path, "If-None-Match" in headers))
        kept = {name: value for name, value in headers.items() if name.lower() not in _OF_THE_CONNECTION}
        connection = HTTPConnection(self.server.upstream, timeout=60)
        try:
            connection.request(method, path, body, {**kept, "Connection": "close"})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if not is_answered:
            self.request.shutdown(socket.SHUT_RDWR)
            return
        fields = {name: value for name, value in answer.getheaders() if name.lower() not in _OF_THE_CONNECTION}
        fields = {"Content-Length": str(len(content)), **fields, "Connection": "close"}
        head = [f"HTTP/1.1 {answer.status} {answer.reason}", *(f"{name}: {value}" for name, value in fields.items())]
        self.wfile.write("\r\n".join([*head, "", ""]).encode("latin1") + content)


@contextmanager
def proxy(upstream: str, rule: Rule) -> Iterator[str]:
    """The address, http://host:port, of a proxy of `upstream` (host:port)."""
    with _Server((HOST, 0), _Handler) as server:
        server.rule, server.upstream = rule, upstream
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield f"http://{HOST}:{server.server_address[1]}"
        finally:
            server.shutdown()
