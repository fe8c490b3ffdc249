"""Windows and macOS: no encoding, line end, path, name or signal that Linux alone takes.

The rules read the code (tests/portability.py); each is shown a planted snippet that it has to find. What can be run
here is: a terminal that spells few signs, a clone in a folder with blanks and umlauts.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from portability import findings, names

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = sorted([*ROOT.glob("slmlab/**/*.py"), *ROOT.glob("cython_kernels/**/*.py"), *ROOT.glob("labs/source/*/*.py")])
TESTS = sorted(path for path in ROOT.glob("tests/**/*.py") if path.name != Path(__file__).name)
FOLDERS = {  # who reads files of Linux, and takes one that is not there for an answer
    "slmlab/bench.py": ("/proc", "/sys"),
    "slmlab/energy/meter.py": ("/sys",),
    "slmlab/models/memory.py": ("/sys",),
    "slmlab/ple/files.py": ("/sys",),
    "cython_kernels/bench/machine.py": ("/proc", "/sys"),
    "tests/test_bench.py": ("/proc", "/sys"),
}


@pytest.mark.parametrize("path", [*SHIPPED, ROOT / "setup.py", *TESTS], ids=lambda p: p.relative_to(ROOT).as_posix())
def test_nothing_runs_on_linux_alone(path):
    name = path.relative_to(ROOT).as_posix()
    assert findings(path.read_text(encoding="utf-8"), path not in TESTS, FOLDERS.get(name, ())) == []


PLANTED = {
    "Path('a').read_text()": "read_text without encoding",
    "path.write_text('a', encoding='utf-8')": "write_text without newline",
    "path.write_text('a', newline='')": "write_text without encoding",
    "open('a')": "open for text without encoding",
    "open('a', 'w', encoding='utf-8')": "without newline",
    "with path.open('r') as f: pass": "open for text without encoding",
    "path.open()": "open for text without encoding",
    "subprocess.run(['git'], text=True)": "a subprocess read as text without encoding",
    "subprocess.check_output(['git'], universal_newlines=True)": "a subprocess read as text without encoding",
    "subprocess.run('ls | wc', shell=True)": "through a shell",
    "subprocess.Popen(a, preexec_fn=f)": "preexec_fn",
    "subprocess.Popen(a, start_new_session=True)": "start_new_session",
    "if x:\n    os.fork()": "os.fork is not on every system",
    "os.killpg(1, 9)": "os.killpg",
    "os.kill(pid, signal.SIGTERM)": "os.kill ",
    "os.execv(a, b)": "os.execv",
    "os.geteuid() == 0": "os.geteuid",
    "os.sysconf('SC_PAGE_SIZE')": "os.sysconf",
    "os.symlink(a, b)": "os.symlink",
    "link.symlink_to(a)": "symlink_to",
    "signal.signal(signal.SIGALRM, f)": "signal.SIGALRM",
    "process.send_signal(signal.SIGINT)": "send_signal",
    "os.kill(pid, signal.SIGKILL)": "signal.SIGKILL",
    "time.tzset()": "time.tzset",
    "select.select([file], [], [])": "select.select",
    "import fcntl": "module fcntl",
    "import resource": "module resource",
    "from pwd import getpwnam": "module pwd",
    "import winreg": "module winreg",
    "if value is None:\n    import msvcrt": "module msvcrt",
    "mmap.mmap(f, 0, flags=mmap.MAP_PRIVATE)": "mmap.MAP_PRIVATE",
    "view.madvise(1)": "madvise",
    "Path('/tmp/a')": "/tmp/a: a folder of one system",
    "open('/dev/shm/a', 'rb')": "/dev/shm/a: a folder of one system",
    "Path('/proc/meminfo')": "/proc/meminfo: a folder of one system",
    "os.rename(a, b)": "os.rename fails on Windows",
    "partial.rename(path)": "rename fails on Windows",
    "tempfile.NamedTemporaryFile()": "NamedTemporaryFile",
    "ctypes.CDLL(None)": "ctypes.CDLL(None)",
    "multiprocessing.get_context('fork')": "by fork",
    "ProcessPoolExecutor(2)": "processes without a stated start",
    "str(path).split('/')": "a path taken apart",
    "str(path).rpartition('/')[2]": "a path taken apart",
    "os.environ['HOME']": "HOME is not set on Windows",
    "os.environ.get('USER')": "USER is not set on Windows",
    "env = {'PYTHONPATH': f'{a}:{b}'}": "PYTHONPATH joined by a colon",
    "os.environ['PATH'] = a + ':' + b": "PATH joined by a colon",
    "folder / f'{now:%H:%M}.json'": "a file name with a colon",
    "now.strftime('%-d. %m.')": "this sign of strftime",
    "python = venv / 'bin/python'": "Scripts/",
    "np.float128(1)": "np.float128",
    "if os.name != 'nt':\n    pass\nos.fork()": "os.fork",  # a guard that guards something else
    "try:\n    import pwd\nexcept ValueError:\n    pass": "module pwd",
}


@pytest.mark.parametrize(("source", "words"), PLANTED.items())
def test_a_planted_pattern_is_found(source, words):
    found = findings(source)
    assert [line for line in found if words in line], f"found {found}"


def ruff(*arguments: str, **more) -> subprocess.CompletedProcess:
    pytest.importorskip("ruff")
    rules = ["--isolated", "--preview", "--select", "PLW1514,PTH", "--output-format", "json"]
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", *rules, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", **more)


def test_ruff_finds_no_text_without_an_encoding_and_no_os_path():
    done = ruff("slmlab", "cython_kernels", "labs/source", "tests", "setup.py", "--exclude", "*.ipynb")

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("import io\nio.TextIOWrapper(a)\n", "PLW1514"),
        ("import tempfile\ntempfile.TemporaryFile('w')\n", "PLW1514"),
        ("import os\nos.path.join(a, b)\n", "PTH118"),
    ],
)
def test_ruff_finds_a_planted_pattern(source, rule):
    assert rule in {found["code"] for found in json.loads(ruff("-", input=source).stdout)}


@pytest.mark.parametrize(
    "source",
    [
        "path.open('rb')",
        "os.open(path, os.O_RDONLY)",
        "tarfile.open(path)",
        "path.write_text(a, encoding='utf-8', newline='\\n')",
        "subprocess.run(a, encoding='utf-8')",
        "if os.name != 'nt':\n    os.execv(a, b)",
        "ON_LINUX = pytest.mark.skipif(os.name == 'nt')\n@ON_LINUX\ndef test():\n    os.fork()",
        "n = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 1",
        "hasattr(os, 'geteuid') and os.geteuid() == 0",
        "def f():\n    if sys.platform == 'win32':\n        return 0\n    import resource",
        "@pytest.mark.skipif(os.name == 'nt', reason='-')\ndef test():\n    os.fork()",
        "try:\n    import fcntl\nexcept ImportError:\n    fcntl = None",
        "'''The file /proc/self.'''",
        "text.replace('/', '-')",
        "words.split('/')",
        "env = {'PATH': os.pathsep.join([a, b])}",
        "folder / f'{now:%H%M}.json'",
    ],
)
def test_what_every_system_takes_is_let_be(source):
    assert findings(source) == []


# ---------------------------------------------------------------------------------------------------- files of the tree


def tracked() -> list[tuple[str, str, str]]:
    """(mode, line ends in git, path) of every file that git knows."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git clone")

    def listed(*options):
        command = ["git", "-C", str(ROOT), "ls-files", "-z", *options]
        return subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout.split("\0")[:-1]

    modes = dict(line.split("\t")[::-1] for line in listed("--stage"))
    ends = dict(line.split("\t")[::-1] for line in listed("--eol"))
    return [(modes[path].split()[0], ends[path].split()[0], path) for path in modes]


def test_every_file_system_takes_the_names():
    assert names(path for _, _, path in tracked()) == []


def test_git_holds_no_links_and_no_windows_line_ends():
    found = tracked()

    assert len(found) > 100
    assert [path for mode, _, path in found if mode == "120000"] == [], "Windows checks a link out as a text"
    assert [path for _, ends, path in found if ends in ("i/crlf", "i/mixed")] == []
    assert "* text=auto eol=lf" in (ROOT / ".gitattributes").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["a/Con.txt"], "Con.txt is a device"),
        (["aux.c"], "aux.c is a device"),
        (["lpt1"], "lpt1 is a device"),
        (["a/b."], "drops the end of 'b.'"),
        (["a /b"], "drops the end of 'a '"),
        (["12:30.txt"], "takes no :"),
        (["what?.md"], "takes no ?"),
        (["a\\b"], "takes no \\"),
        (["für.txt"], "other code points"),
        (["readme.md", "README.md"], "differs from README.md by case alone"),
        (["Labs/a", "labs/b"], "differs from Labs by case alone"),
        (["x" * 151], "151 characters"),
    ],
)
def test_a_planted_name_is_found(paths, words):
    assert [line for line in names(paths) if words in line]


def test_ordinary_names_are_let_be():
    assert names(["console.py", "com.py", "a/lpt10.txt", ".github/x.yml", "a b/c-d_e.f"]) == []


# ------------------------------------------------------------------------------------------------------ what can be run

COMMANDS = (["claims"], ["models"], ["doctor"], ["--help"], ["minis", "eval", "--help"])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_terminal_that_spells_few_signs_ends_no_command(command, tmp_path):
    """As Windows's pipes, which take one byte a sign: what cannot be spelt becomes `?`."""
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "SLMLAB_HOME": str(tmp_path / "für mich")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "slmlab.cli", *command], cwd=ROOT, env=environment, capture_output=True
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii() and done.stdout
