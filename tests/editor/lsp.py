"""A small client of the Language Server Protocol: one server process, spoken to over its standard input and output."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

Message = dict[str, Any]
HERE = Path(__file__).parent
SERVER = HERE / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
WAIT_SECONDS = 20
# The schemas are the files' own; nothing is fetched from the network.
SETTINGS = {
    "yaml": {"completion": True, "hover": True, "validate": True, "schemaStore": {"enable": False}},
    "redhat": {"telemetry": {"enabled": False}},
}


class YamlServer:
    """yaml-language-server as an editor starts it for the folder `root`."""

    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(["node", str(SERVER), "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.messages: queue.Queue[Message] = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.number = 0
        self.files = 0
        capabilities = {
            "workspace": {"configuration": True, "workspaceFolders": True},
            "textDocument": {"completion": {"completionItem": {"documentationFormat": ["markdown"]}}},
        }
        folder = {"uri": root.as_uri(), "name": root.name}
        self.request(
            "initialize",
            {"processId": None, "rootUri": root.as_uri(), "workspaceFolders": [folder], "capabilities": capabilities},
        )
        self.notify("initialized", {})

    def __enter__(self) -> YamlServer:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.request("shutdown", None)
        self.notify("exit", None)
        self.process.wait(WAIT_SECONDS)
        self.reader.join(WAIT_SECONDS)
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()

    def open(self, folder: Path, text: str) -> str:
        """Open a new file of that folder, as yet unsaved; its address."""
        self.files += 1
        uri = (folder / f"unsaved_{self.files}.yaml").as_uri()
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": document})
        return uri

    def diagnostics(self, uri: str) -> list[Message]:
        """What is wrong in a file that was just opened."""
        while True:
            message = self._next()
            if message.get("method") == "textDocument/publishDiagnostics" and message["params"]["uri"] == uri:
                found: list[Message] = message["params"]["diagnostics"]
                return found

    def at(self, method: str, uri: str, line: int, character: int) -> Any:
        """Ask for `hover` or `completion` at a place; both count from 0."""
        position = {"line": line, "character": character}
        return self.request(f"textDocument/{method}", {"textDocument": {"uri": uri}, "position": position})

    def request(self, method: str, params: Any) -> Any:
        """The result of a request."""
        self.number += 1
        number = self.number
        self._send({"id": number, "method": method, "params": params})
        while True:
            message = self._next()
            if message.get("id") == number and "method" not in message:
                assert "error" not in message, message["error"]
                return message["result"]

    def notify(self, method: str, params: Any) -> None:
        """Tell the server something."""
        self._send({"method": method, "params": params})

    def _next(self) -> Message:
        """The next message that is not the server's own question; those are answered."""
        message = self.messages.get(timeout=WAIT_SECONDS)
        if "id" in message and "method" in message:
            result = None
            if message["method"] == "workspace/configuration":
                result = [SETTINGS.get(item["section"]) for item in message["params"]["items"]]
            self._send({"id": message["id"], "result": result})
        return message

    def _send(self, message: Message) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def _read(self) -> None:
        assert self.process.stdout
        while header := self.process.stdout.readline():
            name, _, value = header.partition(b":")
            if name.lower() == b"content-length":
                while self.process.stdout.readline().strip():
                    pass
                self.messages.put(json.loads(self.process.stdout.read(int(value))))
