"""A headless Chromium, driven through its DevTools protocol by a pipe; nothing to install but Chromium itself.

Protocol: https://chromedevtools.github.io/devtools-protocol/, messages end with a zero byte (--remote-debugging-pipe).
"""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --remote-debugging-pipe --no-first-run"
KEYS = {"ArrowDown": 40, "ArrowUp": 38, "Escape": 27, "Enter": 13}


class Browser:
    """One tab. `seen`: the events that came, among them requests of the network and messages of the console."""

    def __init__(self, profile: Path):
        read, self.to = os.pipe()
        self.of, write = os.pipe()
        command = f'exec "$@" 3<&{read} 4>&{write}'
        words = [CHROMIUM, *FLAGS.split(), f"--user-data-dir={profile}", "about:blank"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(["bash", "-c", command, "bash", *words], pass_fds=(read, write), **quiet)
        os.close(read), os.close(write)
        self.numbers, self.rest, self.session, self.seen = itertools.count(1), b"", None, []
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict:
        """Sends a command and returns its result; events that come before it go into `seen`."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.seen.append(answer)

    def receive(self) -> dict:
        while b"\0" not in self.rest:
            part = os.read(self.of, 1 << 20)
            assert part, "Chromium has ended"
            self.rest += part
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def open(self, url: str, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Loads a page in a window of this size; its scripts have run, though they may still wait for something."""
        self.seen.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media="screen", features=features)
        self.call("Page.navigate", url="about:blank")  # else another hash of the same page loads nothing
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        asked = {"returnByValue": True, "awaitPromise": True}
        answer = self.call("Runtime.evaluate", expression=script, **asked)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < until, f"in {seconds} s it never was so: {condition}"
            time.sleep(0.02)

    def press(self, key: str) -> None:
        """A key of KEYS, or a character, which also types it."""
        text = {} if key in KEYS else {"text": key}
        code = KEYS.get(key) or ord(key.upper())
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)
        self.settle()

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)
        self.settle()

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).click()")
        self.settle()

    def cut_off(self) -> list[str]:
        """What reaches beyond the window's right edge, and does not lie in a box that scrolls."""
        width = "const width = document.documentElement.clientWidth"  # without the scroll bar
        beyond = "found.getBoundingClientRect().right > width + 1 && !found.closest('.scroll')"
        elements = f"[...document.querySelectorAll('body *')].filter(found => {beyond})"
        return self.run(f"(() => {{ {width}; return {elements}.map(found => found.outerHTML) }})()")

    def settle(self) -> None:
        """Waits for the next two frames: what an event changes has then been drawn."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))")

    def picture(self, path: str | Path) -> None:
        Path(path).write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        self.call("Browser.close")
        self.process.wait(30)
        os.close(self.to), os.close(self.of)
