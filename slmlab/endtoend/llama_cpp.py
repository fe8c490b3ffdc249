"""llama.cpp as a contender, through the package xllamacpp: the same ternary matrices as TQ2_0, in processes of its own.

A process of its own has its own OpenMP, shows its own memory and, should llama.cpp abort, ends alone. Between its turns
it waits for a line on its standard input; the processor time that it takes meanwhile is measured and reported.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import perf_counter

import numpy as np
import psutil

from slmlab import bench
from slmlab.ledger import format_bytes

from . import gguf_file, model
from .contenders import DECODE_PROMPT, DECODE_TOKENS, PACKED_BYTES, PROMPT_TOKENS, Turn, fits, prompt_ids

NAME = "llama.cpp TQ2_0"
PACKAGES = ("xllamacpp", "gguf")
COMMAND = (sys.executable, "-m", "slmlab.endtoend.llama_process")  # and its arguments


class PeerError(RuntimeError):
    """llama.cpp's process ended, or answered something else than was asked."""


class LlamaCpp:
    """One process with the model in it, and its log beside the file: a context manager.

    version: of xllamacpp. features: what it was built with, among them the instruction sets that its kernels use

    PeerError: it does not start, or, in its turn, ended or did not compute what was asked.
    """

    slow = False

    def __init__(self, file: Path, threads: int):
        self.name = f"{NAME}, {threads} thread{'s' * (threads > 1)}"
        self._log = file.with_name(f"{threads}.log")
        with self._log.open("wb") as log:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
            self._process = subprocess.Popen([*COMMAND, str(file), str(threads)], **pipes, encoding="utf-8")
        self._busy_s, self._idle_s, self._waiting_since = 0.0, 0.0, None
        try:
            about = self._line()
        except PeerError:
            self.close()
            raise
        parts = [part.split() for part in about["system"].split("|")]  # CPU : AVX2 = 1 | FMA = 1 | ...
        self.version, self.features = about["version"], [part[-3] for part in parts if part[-2:] == ["=", "1"]]

    def __enter__(self) -> "LlamaCpp":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """End the process, by the end of its input."""
        with suppress(OSError):  # it has ended by itself, and left a request unread
            self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def turn(self) -> Turn:
        if self._waiting_since is not None:
            start, spent = self._waiting_since
            self._idle_s += perf_counter() - start
            self._busy_s += self._processor_s() - spent
        token_ms = self._ask(DECODE_PROMPT, 1 + DECODE_TOKENS)["token_ms"]
        prompt_ms = self._ask(PROMPT_TOKENS, 1)["prompt_ms"]
        self._waiting_since = perf_counter(), self._processor_s()
        return Turn(float(np.median(token_ms)), 1e3 * PROMPT_TOKENS / prompt_ms)

    def memory(self) -> dict:
        """Bytes of its process now, as bench.Memory counts them; the peak is not known."""
        process = psutil.Process(self._process.pid).memory_info()
        anonymous = process.rss - process.shared if hasattr(process, "shared") else None
        return {"rss_bytes": process.rss, "anonymous_bytes": anonymous}

    def idle_share(self) -> float | None:
        """Processor time that it took between its turns, in parts of one core; None before the second turn."""
        return self._busy_s / self._idle_s if self._idle_s else None

    def _ask(self, prompt_tokens: int, new_tokens: int) -> dict:
        request = {"prompt": prompt_ids(prompt_tokens)[0].tolist(), "new_tokens": new_tokens}
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
        except OSError:  # a broken pipe; on Windows an invalid argument
            raise self._ended() from None
        answer = self._line()
        if (answer["prompt_tokens"], answer["cached_tokens"]) != (prompt_tokens, 0):
            raise PeerError(
                f"llama.cpp computed {answer['prompt_tokens']} tokens of a prompt of {prompt_tokens}, wanted all: "
                "its time would not be that of the prompt"
            )
        return answer

    def _line(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        return json.loads(line)

    def _ended(self) -> PeerError:
        code = self._process.wait()
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        last = [line.strip() for line in lines if line.strip()][-1:]
        return PeerError(f"llama.cpp's process ended with {code}, and said last: {' '.join(last) or 'nothing'}")

    def _processor_s(self) -> float:
        times = psutil.Process(self._process.pid).cpu_times()
        return times.user + times.system


@contextmanager
def llama_cpp() -> Iterator[list[LlamaCpp]]:
    """llama.cpp with all threads and with half of them, on one file that is removed at the end; [] when left out.

    A line says why it was left out: not installed, or too little memory or disk, or its process did not start.
    """
    with ExitStack() as stack:
        reason = _missing()
        peers = []
        if reason is None and fits(NAME, PACKED_BYTES):
            print(f"building {NAME}", flush=True)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slmlab-")))
            gguf_file.write(folder / "model.gguf", model.stored())
            threads = bench.machine().threads
            try:
                for count in sorted({threads, max(1, threads // 2)}, reverse=True):
                    peers.append(stack.enter_context(LlamaCpp(folder / "model.gguf", count)))
            except PeerError as error:
                reason, peers = str(error), []
                stack.close()  # one process may have started
        if reason is not None:
            print(f"{NAME}: left out, {reason}")
        yield peers


def _missing() -> str | None:
    """What llama.cpp lacks here, or None."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        return f"{' and '.join(missing)} not installed (pip install {' '.join(missing)})"
    folder, size = Path(tempfile.gettempdir()), gguf_file.file_bytes(model.config())
    free = shutil.disk_usage(folder).free
    if size > free:
        return (
            f"its file takes {format_bytes(size)} and {folder} has {format_bytes(free)} free: "
            "set TMPDIR to another folder"
        )
    return None
