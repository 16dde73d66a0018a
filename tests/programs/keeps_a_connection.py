"""A connection that our Docker client makes, and for how many seconds the kernel waits for a host that is gone."""

from __future__ import annotations

import socket
import sys
import threading
from pipeline_config.operators.docker_client import UnprivilegedDockerClient

server = socket.create_server(("127.0.0.1", 0))


def answer():
    client, _ = server.accept()
    client.recv(65536)
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")


threading.Thread(target=answer, daemon=True).start()
engine = UnprivilegedDockerClient(base_url=f"http://127.0.0.1:{server.getsockname()[1]}", version="1.44")
answered = engine._get(f"{engine.base_url}/_ping", stream=True)
connection = engine._get_raw_response_socket(answered)._sock
options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
idle, interval, count = (connection.getsockopt(socket.IPPROTO_TCP, option) for option in options)
print(connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), idle + interval * count, file=sys.stderr)
