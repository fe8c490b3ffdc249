"""binder/ and deploy/: what repo2docker makes of the one, and that the other says nothing its readers do not know."""

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from slmlab import cli, doctor, records

ROOT = Path(__file__).resolve().parent.parent
BINDER = ROOT / "binder"

# Keys and types of tljh/config_schema.py, github.com/jupyterhub/the-littlest-jupyterhub at 84ed38fd1f7c239c
TLJH = {
    "limits": {"memory": str, "cpu": (int, float)},
    "services": {"cull": {"enabled": bool, "timeout": int, "every": int, "concurrency": int, "max_age": int}},
    "user_environment": {"default_app": str},
}


# What of labs/ JupyterLab's file browser shows, in the environment and with the options that it is given
LISTED = """
import sys
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

server = ServerApp()
server.parse_command_line(sys.argv[1:])
server.load_config_file()
print(*(name for name in ("README.md", "source", "0_start") if AsyncLargeFileManager(parent=server).should_list(name)))
"""


def listed(before=(), options=(), **env):
    env = {**os.environ, "JUPYTER_CONFIG_PATH": "", **env}
    command = [*before, sys.executable, "-c", LISTED, *options]
    return subprocess.run(command, env=env, capture_output=True, encoding="utf-8", check=True).stdout.split()


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def values(name):
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((ROOT / "deploy" / name).read_text(encoding="utf-8"))


def in_bytes(text):
    """A size as JupyterHub reads it: G is 1024**3."""
    return float(text[:-1]) * 1024 ** {"K": 1, "M": 2, "G": 3}[text[-1]]


# -------------------------------------------------------------------------------------------------------------- binder


def test_binder_s_folder_becomes_the_image_that_was_meant():
    pytest.importorskip("repo2docker", reason="pip install jupyter-repo2docker (not for Windows)")
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", str(ROOT)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=True)
    dockerfile = done.stderr + done.stdout  # the log, and the file

    python = lines(BINDER / "runtime.txt")[0].removeprefix("python-")
    steps = [
        f"Building conda environment for python={python}",
        "COPY --chown=0:0 src/ ${REPO_DIR}/",  # pip then finds the constraints beside the requirements
        'pip install --no-cache-dir -r "binder/requirements.txt"',
        "RUN ./binder/postBuild",
        'ENV R2D_ENTRYPOINT="${REPO_DIR}/binder/start"',
    ]
    assert [step for step in steps if step not in dockerfile] == []
    places = [dockerfile.index(step) for step in steps]
    assert places == sorted(places)


@pytest.mark.skipif(os.name == "nt", reason="Binder's scripts are for its Linux")
@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_a_script_of_binder_is_one_that_bash_reads_and_may_run(name):
    assert (BINDER / name).read_bytes().startswith(b"#!/usr/bin/env bash\n")
    assert b"\r" not in (BINDER / name).read_bytes()
    assert os.access(BINDER / name, os.X_OK)
    subprocess.run(["bash", "-n", str(BINDER / name)], check=True)


@pytest.mark.skipif(os.name == "nt", reason="Binder's scripts are for its Linux")
def test_start_hands_over_with_one_thread_and_the_models_beside_the_clone(tmp_path):
    code = "import os, sys; print(*map(os.environ.get, sys.argv[1:]))"
    asked = ["OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM", "XDG_CACHE_HOME"]
    env = {**os.environ, "REPO_DIR": str(tmp_path)}
    done = subprocess.run(
        ["bash", str(BINDER / "start"), sys.executable, "-c", code, *asked],
        env=env,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )

    assert done.stdout.split() == ["1", "false", f"{tmp_path}/.cache"]
    # where postBuild puts the model is where the kernels look
    here, there = (
        [line.split("  #")[0] for line in lines(BINDER / name) if "XDG" in line] for name in ("start", "postBuild")
    )
    assert here == there != []


@pytest.mark.skipif(os.name == "nt", reason="Binder's scripts are for its Linux")
def test_start_lists_the_labs_and_not_their_sources_which_hold_the_solutions():
    assert listed() == ["README.md", "source", "0_start"]  # it can fail
    assert listed(["bash", str(BINDER / "start")], REPO_DIR=str(ROOT)) == ["README.md", "0_start"]


def test_slmlab_lab_lists_the_labs_and_not_their_sources(monkeypatch):
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "")
    monkeypatch.setattr(cli, "hand_over", len)
    cli.main(["lab"])

    assert listed(JUPYTER_CONFIG_PATH=os.environ["JUPYTER_CONFIG_PATH"]) == ["README.md", "0_start"]


def test_a_build_takes_nothing_untested_from_the_network():
    """pip in postBuild: no dependencies, no build environment of its own, and wheels of the pinned version alone."""
    installs = [line for line in lines(BINDER / "postBuild") if "pip install" in line]

    assert len(installs) == 2
    assert all("--no-deps" in line for line in installs)
    (own,) = (line for line in installs if line.endswith("--editable ."))
    (wheel,) = (line for line in installs if line is not own)
    assert "--no-build-isolation" in own
    assert "--only-binary :all:" in wheel and "--constraint binder/constraints.txt" in wheel
    assert f"{wheel.split()[-1]}==" in (BINDER / "constraints.txt").read_text(encoding="utf-8")
    requirements = lines(BINDER / "requirements.txt")
    assert {"cython", "setuptools"} <= set(requirements)  # what pyproject.toml asks of a build
    assert "--only-binary :all:" in requirements  # a package without a wheel would be compiled, for who knows how long


# Imported by parts of the package that labs do not use, and that say so where it is missing
OF_AUTHORS = {"jupytext": "grading", "xllamacpp": "endtoend", "litespark_inference": "cython_kernels"}


def required(names):
    """Distributions that these require, directly or not, without their extras; canonical names."""
    found, waiting = set(), [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        asked = (Requirement(text) for text in importlib.metadata.requires(name) or ())
        waiting += [
            canonicalize_name(one.name) for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})
        ]
    return found


def imported(path):
    """Top names of what a source imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
        yield from (name.partition(".")[0] for name in names)


def test_whatever_the_course_imports_is_installed_with_it():
    """Of every source, labs included: a package that stands on this machine by chance does not count."""
    asked = [line for line in lines(BINDER / "requirements.txt") if line and not line.startswith(("-", "#"))]
    installed = required(set(asked) - {"nbgitpuller", "notebook"})
    homes = importlib.metadata.packages_distributions()
    missing = set()
    for folder in ("slmlab", "cython_kernels", "labs/source"):
        for path in (ROOT / folder).rglob("*.py"):
            for name in set(imported(path)) - sys.stdlib_module_names - {"slmlab", "cython_kernels"}:
                if not installed & set(map(canonicalize_name, homes.get(name, ()))):
                    missing.add((name, path.relative_to(ROOT).parts[folder == "slmlab"].removesuffix(".py")))

    assert dict(missing) == OF_AUTHORS


# ---------------------------------------------------------------------------------------------------------------- hubs


def test_the_values_for_kubernetes_are_the_chart_s():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((ROOT / "tests" / "reference" / "zero_to_jupyterhub.json").read_text(encoding="utf-8"))
    check = jsonschema.Draft7Validator(schema)
    ours = values("kubernetes.yaml")

    assert [error.message for error in check.iter_errors(ours)] == []
    for wrong in ({"mem": {}}, {"memory": {"guarantee": ["1G"]}}, {"image": {"repository": "x"}}):  # it can fail
        assert list(check.iter_errors({"singleuser": wrong}))


def test_the_littlest_hub_knows_every_key():
    def unknown(given, known):
        return [
            key
            for key, value in given.items()
            if key not in known
            or (unknown(value, known[key]) if isinstance(known[key], dict) else not isinstance(value, known[key]))
        ]

    assert unknown(values("tljh.yaml"), TLJH) == []
    assert unknown({"limits": {"mem": "1G"}}, TLJH) == ["limits"]


def test_the_readme_s_commands_set_what_the_file_for_the_littlest_hub_says():
    text = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    said = dict(re.findall(r"tljh-config set (\S+) (\S+)", text))
    ours = values("tljh.yaml")

    assert said == {
        "limits.memory": ours["limits"]["memory"],
        "limits.cpu": str(ours["limits"]["cpu"]),
        "services.cull.timeout": str(ours["services"]["cull"]["timeout"]),
    }


def test_what_a_student_is_given_holds_the_largest_lab_on_its_own_model():
    """Lab 00 says what it takes beyond what is held at its set-up; that and JupyterLab hold 0.2 GB by then."""
    source = (ROOT / "labs" / "source" / "0_start" / "00_instruments.py").read_text(encoding="utf-8")
    needed = 200e6 + int(re.search(r"needs_bytes=([\d_]+)", source)[1])
    memory = values("kubernetes.yaml")["singleuser"]["memory"]

    assert needed <= doctor.LAB_BYTES <= in_bytes(memory["guarantee"]) <= in_bytes(memory["limit"])
    assert needed <= in_bytes(values("tljh.yaml")["limits"]["memory"])


@pytest.fixture
def spawner():
    """JupyterHub's spawner, as deploy/tljh_config.py sets it up."""
    config = SimpleNamespace(Spawner=SimpleNamespace())
    source = (ROOT / "deploy" / "tljh_config.py").read_text(encoding="utf-8")
    exec(compile(source, "tljh_config.py", "exec"), {"c": config})
    return config.Spawner


def test_the_littlest_hub_lists_the_labs_and_not_their_sources(spawner):
    assert listed(options=spawner.args) == ["README.md", "0_start"]


def test_the_littlest_hub_s_students_share_models_and_not_records(spawner, monkeypatch, tmp_path):
    for name, value in spawner.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    records.write("verdict", "T1", {"value": 1})

    assert [path.name for path in tmp_path.rglob("*.json")] == ["T1.json"]
