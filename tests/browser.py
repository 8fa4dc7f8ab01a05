"""A real browser, driven by chromedriver over the WebDriver protocol."""

import base64
import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name of a reference
KEYS = {"Enter": "\ue007", "Escape": "\ue00c", "ArrowUp": "\ue013", "ArrowDown": "\ue015", "Tab": "\ue004"}
WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


def missing() -> str | None:
    """Why there is no browser here."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium or not shutil.which("chromedriver"):
        return "chromium and chromedriver are not installed"
    return None


class Browser:
    """A window."""

    def __init__(self, client: httpx.Client, session: str) -> None:
        self._client, self._path = client, f"/session/{session}"

    def do(self, verb: str, path: str, **body: Any) -> Any:
        answer = self._client.request(verb, self._path + path, json=body if verb == "POST" else None)
        assert answer.status_code == 200, answer.text
        return answer.json()["value"]

    def open(self, url: str) -> None:
        self.do("POST", "/url", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        """What ``return ...`` gives."""
        return self.do("POST", "/execute/sync", script=script, args=list(arguments))

    def wait(self, script: str) -> Any:
        """What an expression is as soon as it is true."""
        for _ in range(300):
            if found := self.run(f"return {script}"):
                return found
            time.sleep(0.05)
        raise AssertionError(f"never true: {script}")

    def type(self, selector: str, text: str) -> None:
        found = self.do("POST", "/element", using="css selector", value=selector)[ELEMENT]
        self.do("POST", f"/element/{found}/value", text=KEYS.get(text, text))

    def press(self, key: str) -> None:
        """A key for whatever has the focus."""
        said = KEYS.get(key, key)
        keys = [{"type": "keyDown", "value": said}, {"type": "keyUp", "value": said}]
        self.do("POST", "/actions", actions=[{"type": "key", "id": "keys", "actions": keys}])

    def drag(self, *places: tuple[int, int]) -> None:
        """Press the mouse at the first place, move, and let go at the last; point at a single one."""
        first, *others = [{"type": "pointerMove", "x": x, "y": y, "duration": 20} for x, y in places]
        down, up = ({"type": f"pointer{name}", "button": 0} for name in ("Down", "Up"))
        actions = [first, down, *others, up] if others else [first]
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions}
        self.do("POST", "/actions", actions=[mouse])

    def click(self, selector: str) -> None:
        found = self.do("POST", "/element", using="css selector", value=selector)[ELEMENT]
        self.do("POST", f"/element/{found}/click")

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """Look like a screen of this size."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.command("Emulation.setEmulatedMedia", features=scheme)

    def command(self, name: str, **parameters: Any) -> Any:
        return self.do("POST", "/goog/cdp/execute", cmd=name, params=parameters)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.do("GET", "/screenshot")))

    def errors(self) -> list[str]:
        """What the browser complained of."""
        return [line["message"] for line in self.do("POST", "/se/log", type="browser")]


@contextlib.contextmanager
def browser(profile: Path, *, webgl: bool = False) -> Iterator[Browser]:
    """A window; with ``webgl`` it can draw, on the processor."""
    driver = subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert driver.stdout is not None
    try:
        lines = iter(driver.stdout.readline, "")
        port = next(
            found[1] for line in lines if (found := re.search(r"started successfully on port (\d+)", line))
        )
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            arguments = [
                "--headless", "--no-sandbox", "--disable-background-networking", f"--user-data-dir={profile}",
                *(WEBGL if webgl else ("--disable-gpu",)),
            ]  # fmt: skip
            wanted = {"goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": {"browser": "ALL"}}
            answer = client.post("/session", json={"capabilities": {"alwaysMatch": wanted}})
            assert answer.status_code == 200, answer.text
            session = answer.json()["value"]["sessionId"]
            try:
                yield Browser(client, session)
            finally:
                client.delete(f"/session/{session}")
    finally:
        driver.kill()
        driver.wait()
        driver.stdout.close()
