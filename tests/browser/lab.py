"""A JupyterLab of one's own, and a notebook in it as a student meets it: run by its menu, moved by the keyboard."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, Page

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "lab"
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},  # keep every cell in the page
}

# Resolves with the milliseconds from the next key press to the frame after the plot of `cell` has been drawn anew.
MOVED = """(cell) => new Promise((resolve, reject) => {
    const plot = cell.querySelector('.js-plotly-plot');
    addEventListener('keydown', () => {
        const start = performance.now();
        const late = setTimeout(() => reject(new Error('the figure was not drawn again within 20 s')), 20000);
        plot.once('plotly_afterplot', () => requestAnimationFrame(() => {
            clearTimeout(late);
            resolve(performance.now() - start);
        }));
    }, {capture: true, once: true});
})"""


def wait_for(condition: Callable[[], bool], seconds: float, what: str, pause: Callable[[], object]) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        pause()


class Server:
    """JupyterLab on the folder `root`, its own state under `home`; a context manager."""

    def __init__(self, root: Path, home: Path, env: dict[str, str]):
        self.root, self.home, self.env = root, home, env

    def __enter__(self) -> "Server":
        overrides = self.home / "config" / "labconfig" / "default_setting_overrides.json"
        overrides.parent.mkdir(parents=True)
        overrides.write_text(json.dumps(SETTINGS), encoding="utf-8")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        folders = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "IPYTHONDIR": "ipython",
        }
        environment = {**os.environ, **{name: str(self.home / folder) for name, folder in folders.items()}, **self.env}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
        command += [
            f"--ServerApp.port={port}",
            f"--IdentityProvider.token={TOKEN}",
            f"--ServerApp.root_dir={self.root}",
        ]
        self.log = self.home / "server.log"
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for(self._answers, 120, "JupyterLab's answer", lambda: time.sleep(0.2))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def get(self, path: str) -> object:
        with urllib.request.urlopen(f"{self.address}/api/{path}?token={TOKEN}", timeout=10) as reply:
            return json.load(reply)

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError("JupyterLab ended:\n" + self.log.read_text(encoding="utf-8")[-2000:])
        try:
            self.get("status")
        except OSError:
            return False
        return True


class Notebook:
    """One notebook of a Server, open in a page. `outside` and `console` collect what must not happen."""

    def __init__(self, server: Server, page: Page, name: str):
        self.server, self.page, self.name = server, page, name
        self.outside: list[str] = []
        self.console: list[str] = []
        local = (server.address, server.address.replace("http", "ws", 1), "data:", "blob:")
        page.on("request", lambda request: request.url.startswith(local) or self.outside.append(request.url[:200]))
        page.on("websocket", lambda socket: socket.url.startswith(local) or self.outside.append(socket.url[:200]))
        page.on("console", lambda message: message.type == "error" and self.console.append(message.text[:500]))
        page.on("pageerror", lambda error: self.console.append(str(error)[:500]))
        page.goto(f"{server.address}/lab/tree/{name}?reset&token={TOKEN}")
        page.wait_for_selector("#jupyterlab-splash", state="detached")
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        self._wait(self._idle, 90, "kernel")  # the page shows "idle" before it has a kernel; Run All would ask for one

    def _wait(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        wait_for(condition, seconds, what, lambda: self.page.wait_for_timeout(100))

    def _idle(self) -> bool:
        kernels = [session["kernel"] for session in self.server.get("sessions") if session["path"] == self.name]
        return any(kernel["execution_state"] == "idle" and kernel["connections"] > 0 for kernel in kernels)

    @property
    def cells(self) -> Locator:
        return self.page.locator(".jp-CodeCell")

    def run_all(self, seconds: float) -> None:
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        prompts = self.page.locator(".jp-CodeCell .jp-InputPrompt")

        def ran() -> bool:  # an empty cell keeps "[ ]:"
            return "[*]:" not in (texts := prompts.all_inner_texts()) and any(t.strip("[ ]:") for t in texts)

        self._wait(lambda: ran() and self._idle(), seconds, "Run All")

    def errors(self) -> list[str]:
        """What cells and widgets report as failed."""
        failed = '.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"], [role="alert"]'
        return [text[:500] for text in self.page.locator(failed).all_inner_texts()]

    def widgets(self) -> list[Locator]:
        """The cells that have a slider, once their plots are drawn: the page makes both after the kernel is idle."""
        self.page.locator(".widget-slider").first.wait_for()
        found = self.cells.filter(has=self.page.locator(".widget-slider")).all()
        for cell in found:
            cell.locator(".js-plotly-plot .main-svg").first.wait_for()
        return found


def sliders(cell: Locator) -> list[Locator]:
    """The handles of the sliders that can be moved."""
    return cell.locator(".widget-slider .noUi-target:not([disabled]) .noUi-handle").all()


def press(cell: Locator, handle: Locator, key: str) -> float:
    """Move a slider by one key; milliseconds until the figure is there."""
    handle.focus()
    moved = cell.evaluate_handle(f"(cell) => {{ globalThis.moved = ({MOVED})(cell); }}")
    moved.dispose()
    handle.press(key)
    return cell.page.evaluate("() => globalThis.moved")
