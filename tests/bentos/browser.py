"""Headless Chromium over its DevTools protocol, spoken through a pipe: no driver, no port."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PATIENCE = 60.0
"""Seconds."""

FLAGS = (
    "--headless=new --remote-debugging-pipe --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run "
    "--disable-background-networking --disable-component-update --disable-default-apps --disable-sync --lang=en-GB"
)


class Browser:
    """One tab. Attributes:
    complaints: what the page's console said of errors, and every exception of its scripts.
    """

    def __init__(self, width: int = 1280, height: int = 900, scale: float = 1.0) -> None:
        assert CHROMIUM is not None
        self._profile = Path(tempfile.mkdtemp(prefix="betting-chromium-"))
        self.complaints: list[str] = []
        self._numbers = itertools.count(1)
        self._answers: dict[int, Queue[dict[str, Any]]] = {}
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        command = f'exec 3<&{to_browser} 4>&{from_browser}; exec "$0" {FLAGS} --user-data-dir="$1" about:blank'
        self._process = subprocess.Popen(
            ["bash", "-c", command, CHROMIUM, str(self._profile)],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"TZ": "Europe/Berlin"},
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(from_browser)
        threading.Thread(target=self._listen, daemon=True).start()
        self._session: str | None = None
        targets = self.send("Target.getTargets")["targetInfos"]
        target = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Emulation.setLocaleOverride", locale="en-GB")
        self.resize(width, height, scale)

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._write)
        shutil.rmtree(self._profile, ignore_errors=True)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answers = self._answers[number] = Queue()
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if getattr(self, "_session", None):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        try:
            answer = answers.get(timeout=PATIENCE)
        except Empty:
            raise AssertionError(f"the browser did not answer {method}") from None
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def resize(self, width: int, height: int, scale: float = 1.0) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 500,
        )

    def prefer(self, **features: str) -> None:
        """Media features, e.g. prefers_color_scheme="dark"."""
        told = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.send("Emulation.setEmulatedMedia", features=told)

    def open(self, url: str) -> None:
        self.send("Page.navigate", url=url)
        self.until("document.body !== null && document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """Of a JavaScript expression."""
        told = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def until(self, expression: str, seconds: float = PATIENCE) -> None:
        """Wait until it is true."""
        end = time.monotonic() + seconds
        while not self.value(f"Boolean({expression})"):
            assert time.monotonic() < end, f"never true: {expression}\n{self.value('document.body?.innerText')}"
            time.sleep(0.05)

    def type(self, text: str) -> None:
        """Into what has the focus; `\\r` is Enter."""
        for key in text:
            told = {"key": "Enter", "windowsVirtualKeyCode": 13} if key == "\r" else {"key": key}
            self.send("Input.dispatchKeyEvent", type="keyDown", text=key, **told)
            self.send("Input.dispatchKeyEvent", type="keyUp", **told)

    def picture(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def _listen(self) -> None:
        rest = b""
        while part := os.read(self._read, 1 << 20):
            *messages, rest = (rest + part).split(b"\0")
            for message in messages:
                self._heard(json.loads(message))
        os.close(self._read)

    def _heard(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._answers.pop(message["id"]).put(message)
        elif message["method"] == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(message["params"]["exceptionDetails"]))
        elif message["method"] == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
            self.complaints.append(message["params"]["entry"]["text"])
