"""What `pip install slmlab` gives without a clone: built once here, installed without compiler, network or clone."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest

from slmlab import bundle, cli, copies

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.timeout(1800)  # the kernels are compiled here


def tracked() -> list[str]:
    """Every file that git tracks; in an unpacked sdist, where there is no git, every file."""
    if (ROOT / ".git").exists():
        command = ["git", "-C", str(ROOT), "ls-files", "-z"]
        names = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout.split("\0")
        return [name for name in names if (ROOT / name).is_file()]
    made = {"__pycache__", "slmlab.egg-info", ".pytest_cache", ".hypothesis", "PKG-INFO", "setup.cfg"}
    files = [path for path in ROOT.rglob("*") if path.is_file() and path.suffix not in (".so", ".pyd")]
    return [path.relative_to(ROOT).as_posix() for path in files if not made & set(path.relative_to(ROOT).parts)]


NOTEBOOKS = {name.removeprefix("labs/") for name in tracked() if name.startswith("labs/") and name.endswith(".ipynb")}


@pytest.fixture(scope="session")
def dist(tmp_path_factory) -> Path:
    """A folder with the sdist of what is tracked, and wheels/ with the wheel that was made of the sdist alone."""
    clone, folder = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("dist")
    for name in tracked():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, clone / name)
    (folder / "wheels").mkdir()
    try:
        bundle.build(clone, folder)
    except bundle.BundleError as error:
        if "SLMLAB_EXPECT_COMPILED" in os.environ:
            raise
        pytest.skip(str(error))
    return folder


@pytest.fixture(scope="session")
def wheel(dist) -> Path:
    (path,) = (dist / "wheels").glob("slmlab-*.whl")
    return path


def test_the_sdist_holds_everything_that_is_tracked(dist):
    (path,) = dist.glob("slmlab-*.tar.gz")
    with tarfile.open(path) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}

    assert sorted(set(tracked()) - names) == []


def test_the_wheel_holds_labs_datasets_minis_and_kernels(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())

    assert {name.removeprefix("slmlab/_labs/") for name in names if name.endswith(".ipynb")} == NOTEBOOKS != set()
    assert {f"slmlab/_datasets/{path.name}" for path in (ROOT / "datasets").iterdir()} <= names
    weights = {name for name in tracked() if name.startswith("slmlab/minis/weights/")}
    assert "slmlab/minis/weights/mini-phi/model.safetensors" in weights and weights <= names
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "slmlab" / "jupyter").rglob("*.json")} <= names
    assert "cython_kernels/ternary" + sysconfig.get_config_var("EXT_SUFFIX") in names


def test_the_wheel_holds_no_solutions_and_no_sources_of_the_kernels(wheel):
    names = zipfile.ZipFile(wheel).namelist()

    assert [name for name in names if Path(name).suffix in (".c", ".h", ".pyx") or "/source/" in name] == []
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"slmlab", "cython_kernels"}


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory) -> Path:
    """The Python of an environment with the wheel, and of this environment everything but slmlab."""
    folder = tmp_path_factory.mktemp("no clone here") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    scripts, exe = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")
    python = folder / scripts / f"python{exe}"
    compilers = {"CC": "no-compiler", "CXX": "no-compiler"}
    pip = [sys.executable, "-m", "pip", "--isolated", "--python", str(python), "install", "--no-index", "--no-deps"]
    subprocess.run([*pip, str(wheel)], check=True, env={**os.environ, **compilers}, capture_output=True)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run([str(python), "-c", where], check=True, capture_output=True, encoding="utf-8").stdout
    # A line of a .pth file adds a folder, and leaves alone what editable installs put there.
    rest = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    (Path(packages.strip()) / "rest.pth").write_text("\n".join(rest) + "\n", encoding="utf-8")
    return python


@pytest.fixture
def student(installed, tmp_path, own_home):
    """Run a command as a student would: in an empty folder, without the clone. Returns what it printed."""
    fence = tmp_path / "fence"
    fence.mkdir()
    (fence / "sitecustomize.py").write_text(OFFLINE, encoding="utf-8")
    (tmp_path / "here").mkdir()

    def run(*command: str, code: int = 0) -> str:
        values = {**os.environ, "PYTHONPATH": str(fence), "CC": "no-compiler", "PATH": str(installed.parent)}
        values |= {"SLMLAB_HOME": str(own_home), "PYTHONUTF8": "1", "JUPYTER_PREFER_ENV_PATH": "1"}
        done = subprocess.run(
            [str(installed), *command], cwd=tmp_path / "here", env=values, capture_output=True, encoding="utf-8"
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr + done.stdout

    return run


OFFLINE = """
import socket

real = socket.socket.connect

def connect(self, address):
    if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise SystemExit(f"reached for the network: {address}")
    return real(self, address)

socket.socket.connect = connect
"""


def test_the_installed_command_answers_without_clone_compiler_or_network(student, installed):
    code = "import slmlab, cython_kernels; print(slmlab.__file__); print(cython_kernels.active().name)"
    file, kernel = student("-c", code).splitlines()
    assert Path(file).is_relative_to(installed.parent.parent)
    assert kernel != "reference"

    assert installed.with_name("slmlab.exe" if os.name == "nt" else "slmlab").is_file()
    assert f"{kernel} runs" in student("-m", "slmlab.cli", "doctor")
    assert "mini-phi" in student("-m", "slmlab.cli", "models")
    assert "BitNet b1.58 2B4T" in student("-m", "slmlab.cli", "models", "--family", "bitnet")
    assert "B16" in student("-m", "slmlab.cli", "claims")


@pytest.mark.parametrize("command", ["test", "build", "run", "links", "bundle x"])
def test_what_needs_a_clone_says_so(student, command):
    assert "clone the repository" in student("-m", "slmlab.cli", *command.split(), code=2)


def test_a_mini_of_the_wheel_loads(student):
    code = "from slmlab import models; print(sum(p.numel() for p in models.load('mini-phi').model.parameters()))"

    assert int(student("-c", code).split()[-1]) > 10**6


def test_a_lab_of_the_wheel_runs_to_its_end(student):
    code = """
from pathlib import Path
from slmlab import copies, runner
copies.copy(Path("labs"))
Path("done").mkdir()
print(runner.run_one(Path("labs/4_bitnet/42_packing.ipynb"), Path("done/42_packing.ipynb").resolve()).error)
"""
    assert student("-c", code).splitlines()[-1] == "None"


def answer(server: subprocess.Popen, url: str, token: str) -> dict:
    """What a Jupyter server says. It names its address before it listens there."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers={"Authorization": f"token {token}"})
    for _ in range(300):
        try:
            with opener.open(request, timeout=60) as reply:
                return json.load(reply)
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise
        assert server.poll() is None, "the server ended"
        time.sleep(0.2)
    pytest.fail(f"nobody listens at {url}")


def test_slmlab_lab_opens_a_copy_of_the_labs_in_the_folder_where_it_is_called(installed, tmp_path):
    shared = Path(sys.prefix) / "share" / "jupyter"  # where JupyterLab lies: it was not installed beside the wheel
    values = {**os.environ, "JUPYTERLAB_DIR": str(shared / "lab"), "JUPYTER_PATH": str(shared), "PYTHONUTF8": "1"}
    values |= {"PYTHONPATH": "", "JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "JUPYTER_RUNTIME_DIR": str(tmp_path)}
    command = [str(installed), "-m", "slmlab.cli", "lab", "--no-browser"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=values, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    ) as server:
        try:
            said = []
            for line in server.stdout:
                said.append(line)
                if found := re.search(r"(http://127\.0\.0\.1:\d+)/lab\?token=(\w+)", line):
                    break
            else:
                pytest.fail("".join(said))
            address, token = found.groups()
            names = {entry["name"] for entry in answer(server, f"{address}/api/contents", token)["content"]}
        finally:
            server.terminate()
    assert {name.partition("/")[0] for name in NOTEBOOKS} <= names and "source" not in names
    assert "files copied" in "".join(said)
    assert (tmp_path / cli.COPY / copies.RECORD).is_file()
    assert {path.relative_to(tmp_path / cli.COPY).as_posix() for path in tmp_path.rglob("*.ipynb")} == NOTEBOOKS
