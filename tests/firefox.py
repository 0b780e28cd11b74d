"""Firefox without a window, driven by its own Marionette protocol over a socket."""

import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from servers import free_port

PATH = shutil.which("firefox-esr") or shutil.which("firefox")
SECONDS = 60
# A page's errors, and those of its scripts, are in the browser's console.
ERRORS = """return Services.console.getMessageArray()
    .filter(each => each instanceof Ci.nsIScriptError && each.sourceName.startsWith(arguments[0]))
    .map(each => each.errorMessage)"""


class Firefox:
    """A session of a running Firefox."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._receive()  # its greeting
        self.send("WebDriver:NewSession")

    def send(self, command: str, **parameters: object) -> Any:
        """Run a command of Marionette and return its value; an error is an AssertionError."""
        message = json.dumps([0, 1, command, parameters]).encode()
        self.connection.sendall(b"%d:%b" % (len(message), message))
        _, _, error, result = self._receive()
        assert error is None, error
        return result.get("value") if isinstance(result, dict) else result

    def open(self, file: Path) -> None:
        """Open a file and wait until it is loaded."""
        self.send("WebDriver:Navigate", url=file.as_uri())

    def run(self, script: str) -> Any:
        """Run JavaScript in the page and return what it returns."""
        return self.send("WebDriver:ExecuteScript", script=script, args=[])

    def drag(self, *points: tuple[int, int]) -> None:
        """Press the mouse at the first point of the window, and release it at the last one."""
        moves = [{"type": "pointerMove", "x": x, "y": y, "duration": 20} for x, y in points]
        down, up = ({"type": name, "button": 0} for name in ("pointerDown", "pointerUp"))
        mouse = {"type": "pointer", "id": "mouse", "actions": [moves[0], down, *moves[1:], up]}
        self.send("WebDriver:PerformActions", actions=[mouse])

    def errors(self, file: Path) -> list[str]:
        """Return the errors and warnings of a page."""
        self.send("Marionette:SetContext", value="chrome")
        try:
            found: list[str] = self.send(
                "WebDriver:ExecuteScript", script=ERRORS, args=[file.as_uri()]
            )
            return found
        finally:
            self.send("Marionette:SetContext", value="content")

    def _receive(self) -> Any:
        length = b""
        while (byte := self.connection.recv(1)) != b":":
            assert byte, "Firefox has closed the connection"
            length += byte
        content = b""
        while len(content) < int(length):
            content += self.connection.recv(int(length) - len(content))
        return json.loads(content)


@contextmanager
def firefox() -> Iterator[Firefox]:
    """Run Firefox with an empty profile."""
    assert PATH is not None
    port = free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        preferences = f'user_pref("marionette.port", {port});\n'
        (Path(profile) / "user.js").write_text(preferences, encoding="utf-8")
        # System access, to read its console.
        marionette = ["--marionette", "--remote-allow-system-access"]
        command = [PATH, "--headless", *marionette, "--no-remote", "--profile", profile]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                with connect(port) as connection:
                    connection.settimeout(SECONDS)
                    yield Firefox(connection)
            finally:
                process.terminate()


def connect(port: int) -> socket.socket:
    """Connect as soon as Firefox listens."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
