"""The environment `.venv` of a folder, made step by step in sight: each step's progress, its log, and its remedy.

`python3 -m slmlab` sets up a clone with it, and the installer of a bundle a machine without a network. The standard
library alone, in syntax that Python 3.8 can parse: it is imported before the version of Python is looked at.
"""

import importlib.util
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request

NEEDED_BYTES = 3_000_000_000  # .venv takes 2 GB, pip's downloads and the converted model the rest
CPU_TORCH = "https://download.pytorch.org/whl/cpu"
PREPARE = """
from slmlab import models
models.prepare("smollm2-135m", lambda what, done, total: print(f"{what} {100 * done // total} %", flush=True))
"""
PYTHON = "python" if os.name == "nt" else "python3"


class SetupError(Exception):
    """The course could not be set up. The message says what to do next."""


def venv_python(root):
    """The Python inside `.venv`, there or not."""
    return root / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


# Making it


def check_before_making(root):
    """Raise SetupError for what would make the set-up of `.venv` in the folder `root` fail half-way."""
    from slmlab import doctor  # by then Python's version is known to be new enough

    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        raise SetupError(
            f"this Python ({sys.executable}) has no venv module. Debian, Ubuntu: sudo apt install {package}. "
            "Elsewhere: install Python from python.org. Then run the same command again."
        )
    if doctor.no_torch_here():
        raise SetupError(f"{doctor.no_torch_here()}. Then run the same command again.")
    if doctor.too_deep_here(root):
        raise SetupError(f"{doctor.too_deep_here(root)}. Then run the same command again.")
    free = shutil.disk_usage(root).free
    if free < NEEDED_BYTES and not venv_python(root).exists():
        raise SetupError(
            f"{root} has {free / 1e9:.1f} GB of free disk, and the set-up needs {NEEDED_BYTES / 1e9:.0f} GB: "
            "free some, or take a folder on a larger disk, and run the same command again."
        )


def make(root):
    """Make `.venv` with a Python that starts and has pip, whatever an interrupted run left behind."""
    python = str(venv_python(root))
    if not answers([python, "-c", ""]):
        # --clear: a link to a Python that has gone would stay. Without pip it takes no time; pip comes below.
        command = [sys.executable, "-m", "venv", "--clear", "--without-pip", str(root / ".venv")]
        made = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
        )
        if made.returncode:
            raise SetupError(f"{root / '.venv'} could not be made. {remedy(made.stdout)}\n{made.stdout.strip()}")
    if not answers([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]):
        raise SetupError(
            f"{root / '.venv'} holds an older Python than 3.11: delete it, and run the same command again."
        )
    if not answers([python, "-m", "pip", "--version"]):
        run([python, "-m", "ensurepip", "--upgrade"], root, Output())


def answers(command):
    """Does `command` start and succeed?"""
    try:
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def remove_broken_installs(root):
    """pip writes a package's RECORD last: one without it was cut off, and pip would take it for installed."""
    for info in site_packages(root).glob("*.dist-info"):
        if not (info / "RECORD").is_file():
            shutil.rmtree(info)


def site_packages(root):
    """The folder of `.venv` in which packages lie."""
    return next((root / ".venv").glob("[Ll]ib/python*/site-packages"), root / ".venv" / "Lib" / "site-packages")


def torch_index(url=CPU_TORCH, seconds=3.0, platform=sys.platform):
    """pip's arguments for a torch without CUDA, and a sentence about it.

    On Linux alone the ordinary package index serves the CUDA build, gigabytes larger.
    """
    if not platform.startswith("linux"):
        return [], ""
    answered = queue.Queue()

    def ask():
        try:
            with urllib.request.urlopen(url + "/torch/", timeout=seconds) as reply:
                answered.put(reply.status == 200)
        except OSError:
            answered.put(False)

    threading.Thread(target=ask, daemon=True).start()  # a name look-up knows no time limit: hence the queue's
    try:
        reached = answered.get(timeout=seconds)
    except queue.Empty:
        reached = False
    if reached:
        return ["--extra-index-url", url], f"torch: the CPU build of {url}"
    return [], f"torch: {url} did not answer within {seconds:.0f} s; it comes from your package index"


def which_torch(root):
    """The torch that was installed, in words."""
    folder = site_packages(root)
    version = next(folder.glob("torch-*.dist-info")).name[len("torch-") : -len(".dist-info")]
    cuda = (folder / "nvidia").is_dir()
    return f"torch {version}" + (
        " with CUDA: it runs on the CPU as well, and takes more disk" if cuda else ", CPU build"
    )


def pip_install(root):
    """The command `pip install` of `.venv`, without what it is to install."""
    python = str(venv_python(root))
    said = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=True).stdout
    # --no-compile: Python compiles a module when it is first used; to compile all of them takes longer than the rest.
    # --only-binary: where a package has no wheel, that is said at once; nobody's compiler is needed for others' code.
    command = [python, "-m", "pip", "install", "--no-compile", "--only-binary=:all:"]
    if tuple(map(int, re.findall(r"\d+", said.decode("utf-8", "replace"))[:2])) >= (24, 1):
        command.append("--progress-bar=raw")  # one line for each piece of a download
    return command


def prepare_model(root):
    """Convert the embedded SmolLM2-135M, unless that is done."""
    run([str(venv_python(root)), "-c", PREPARE], root, Output())


# Running one step, in sight


class Output:
    """What a step says, as a few words of progress: its last line."""

    status = ""

    def read(self, line):
        """Take in one line."""
        self.status = line


class PipOutput(Output):
    """pip's output as a few words: what it does, and how far it is."""

    def __init__(self, root):
        self.folder = site_packages(root)
        self.total = 0  # packages at the end, once pip has named them
        self.item = ""

    def read(self, line):
        words = line.split()
        if len(words) == 4 and words[0] == "Progress":  # Progress 1048576 of 207618048
            done, size = int(words[1]), int(words[3])
            self.item = f"{self.item.split(' (')[0]} ({done / 1e6:.0f} of {size / 1e6:.0f} MB)"
        elif line.startswith("Collecting "):
            self.item = f"looking for {words[1]}"
        elif "Downloading " in line:
            file, _, size = line.partition("Downloading ")[2].rsplit("/", 1)[-1].partition(" (")
            self.item = f"downloading {' '.join(file.split('-')[:2])} ({size}"
        elif line.startswith("Building "):
            self.item = "compiling the kernels"
        elif line.startswith("Installing collected packages: "):
            self.total = self._installed() + line.count(",") + 1

    def _installed(self):
        return sum(1 for _ in self.folder.glob("*.dist-info"))

    @property
    def status(self):
        return f"installed {self._installed()} of {self.total} packages" if self.total else self.item


def run(command, root, output, log=None):
    """Run one step in the folder `root`, its progress on one line. Returns what it said, which is also in `log`.

    log: a file, by default .venv/install.log in `root`; the step's output is added to it.

    Raises SetupError with the remedy, the last lines and the name of the log when it fails.
    """
    log = log or root / ".venv" / "install.log"
    environment = dict(os.environ, PIP_USER="0", PIP_NO_INPUT="1", PIP_DISABLE_PIP_VERSION_CHECK="1", PYTHONUTF8="1")
    start = shown = time.monotonic()
    said = line = ""
    with log.open("ab") as sink, log.open("rb") as source:
        source.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            command, cwd=str(root), env=environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT
        )
        try:
            while True:
                finished = process.poll() is not None  # asked before reading: nothing comes after the last read
                news = source.read().decode("utf-8", "replace")
                said += news
                *lines, line = (line + news).split("\n")
                for one in lines:
                    output.read(one)
                if finished:
                    break
                shown = show(f"      {clock(time.monotonic() - start)}  {output.status}", shown)
                time.sleep(0.1)
        except KeyboardInterrupt:
            try:
                process.wait(timeout=10)  # it got the Ctrl-C as well, and tidies up
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    show_last(f"      {clock(time.monotonic() - start)}  {'done' if process.returncode == 0 else 'failed'}")
    if process.returncode:
        said += "\nKilled" if process.returncode == -9 else ""  # by Linux, when memory runs out
        raise SetupError(f"{remedy(said)}\nFrom {log}:\n{telling(said)}")
    return said


def telling(said):
    """The lines of a failed step that say most: the last ones about an error, else the last ones."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if re.search("error:|failed|could not|no space|denied", line, re.IGNORECASE)]
    framing = "subprocess"  # pip says this around what its own pip or compiler said
    chosen = [line for line in errors if framing not in line][-3:] or lines[-6:]
    return "\n".join(f"  | {line[:200]}" for line in chosen)


def show(text, shown):
    """Show progress: the same line over and over in a terminal, elsewhere one line every 15 s. Returns when shown."""
    now = time.monotonic()
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        print("\r" + text[:width].ljust(width), end="", flush=True)
    elif now - shown > 15:
        print(text[:120], flush=True)
    else:
        return shown
    return now


def show_last(text):
    """End a progress line."""
    show(text, float("-inf"))
    if sys.stdout.isatty():
        print()


def clock(seconds):
    """Seconds as minutes:seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


REMEDIES = (  # what a step says when it fails, in the order to look for; and what to do about it
    (
        r"No space left on device|not enough space on the disk|Disk quota exceeded",
        "The disk is full: free 3 GB (`{python} -m pip cache purge` drops pip's old downloads), then run the same "
        "command again; it goes on from here.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError",
        "The connection's certificate is not trusted, as behind a company proxy: set PIP_CERT to your proxy's "
        "certificate file, then run the same command again.",
    ),
    (
        r"Failed to establish a new connection|Temporary failure in name resolution|getaddrinfo failed|ConnectTimeout"
        r"|Network is unreachable|Connection (refused|reset)|Read timed out|ProxyError|RemoteDisconnected",
        "The package index cannot be reached: connect to the network (or set PIP_INDEX_URL or HTTPS_PROXY as your "
        "network wants), then run the same command again; it goes on from here. Once set up, the course runs offline.",
    ),
    (
        r"error: command '?[^ ]*(cc|clang|cl\.exe|gcc|g\+\+)'? failed|Microsoft Visual C\+\+ .* is required",
        "A package has no ready build for this Python and no compiler was found: take Python 3.11 to 3.13. {compiler}.",
    ),
    (
        r"No matching distribution found|Could not find a version",
        "The package index has no such release for Python {version}. Look at what PIP_NO_INDEX, PIP_INDEX_URL and "
        "pip.conf choose (`pip config list`); the course is tested with Python 3.11 to 3.13.",
    ),
    (r"Permission ?denied|PermissionError", "The folder cannot be written: take a folder of yours, as yourself."),
    (
        r"MemoryError|Killed",
        "The memory ran out: close other programs (1.5 GB must be free), and run the same command again.",
    ),
)


def remedy(output):
    """What to do about a step that failed, by what it said."""
    from slmlab import doctor

    for pattern, advice in REMEDIES:
        if re.search(pattern, output):
            version = ".".join(map(str, sys.version_info[:2]))
            return advice.format(python=PYTHON, version=version, compiler=doctor.compiler_remedy())
    return "This step failed. Run the same command again; if it fails again, report these lines."
