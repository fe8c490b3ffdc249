"""The `slmlab` command.

The top of the file imports the standard library alone: `--help` answers at once, and `python3 -m slmlab` reads its
command line from here before anything is installed.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # of the clone
COPY = "slmlab-labs"  # where the labs go by default


class CommandError(Exception):
    """The command cannot be carried out as given; the message says what to do instead."""


def parser() -> argparse.ArgumentParser:
    """The command line. `args.run` is the function of a command, `args.extra` the set of requirements it needs."""
    top = argparse.ArgumentParser(
        prog="slmlab", description="Measure small language models instead of reading about them."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(function, text, extra="labs", to=commands, name=None):
        command = to.add_parser(name or function.__name__, help=text, description=text)
        command.set_defaults(run=function, extra=extra)
        return command

    command = add(lab, "open the labs in JupyterLab")
    command.add_argument(
        "folder",
        nargs="?",
        type=Path,
        metavar="FOLDER",
        help="copy the labs there, never over your work, and open the copy (default: the clone's own labs; without a "
        f"clone, {COPY})",
    )
    command.add_argument("--no-browser", action="store_true", help="only print the address")
    command.add_argument("--port", type=free_port, help="port of JupyterLab (default: the first free one from 8888)")

    add(test, "run every test of the course, its notebooks included", extra="test")

    command = add(run, "execute labs, and write a report")
    command.add_argument(
        "labs", nargs="*", metavar="LAB", help="number or part of a name, as 14 or quantization (default: all)"
    )
    command.add_argument("--full", action="store_true", help="the longer measurements, where a lab has them")
    command.add_argument(
        "--output", type=Path, metavar="DIR", help="folder of the report (default: runs/ and the time)"
    )

    add(doctor, "what this machine can do, and what to do about the rest")

    command = add(models, "the models of the catalog, and which of them load here")
    command.add_argument("--family", choices=["phi", "qwen", "gemma", "bitnet"])
    command.add_argument(
        "--accept-gemma-terms", action="store_true", help="record that you accept Google's Gemma terms"
    )

    add(claims, "what was claimed, what you measured, and the verdict")

    group = commands.add_parser("minis", help="train, examine and export the course's own tiny models")
    of_minis = group.add_subparsers(dest="minis_command", required=True, metavar="COMMAND")

    command = add(train, "make a mini by its recipe; what was interrupted goes on", to=of_minis)
    command.add_argument("name", metavar="NAME", help="mini-phi or another mini, or a twin, as mini-bitnet-twin")
    command.add_argument(
        "--output", type=Path, metavar="DIR", help="its folder (default: NAME here); DIR.partial keeps the checkpoint"
    )
    command.add_argument("--tokens", type=at_least_1, metavar="N", help="train on so many (default: the recipe's)")

    command = add(evaluate, "put minis to their exams; the last line is JSON", to=of_minis, name="eval")
    command.add_argument("names", nargs="*", metavar="NAME", help="mini or twin (default: the minis that ship)")
    command.add_argument(
        "--folder", type=Path, metavar="DIR", help="take DIR/NAME where it is there, before those that ship"
    )
    command.add_argument("--record", action="store_true", help="store the scores, and write them into the model cards")

    command = add(export, "write a model for another runtime", to=of_minis)
    command.add_argument("name", metavar="NAME", help="mini, or a folder in the hub's layout")
    command.add_argument("--to", choices=["gguf", "onnx"], required=True)
    command.add_argument(
        "--output", type=Path, metavar="PATH", help="file or folder (default: NAME.gguf or NAME-onnx, here)"
    )

    command = add(build, "make the students' notebooks from labs/source", extra="test")
    command.add_argument("--check", action="store_true", help="change nothing; fail when a notebook is stale")

    command = add(bundle, "make one folder that installs the course in a room without a network")
    command.add_argument("out", type=Path, metavar="OUT", help="the folder to make, about 1 GB")

    command = add(links, "say where the course is published, and write every link to it", extra="test")
    command.add_argument(
        "repository", nargs="?", metavar="OWNER/REPO", help="on GitHub (default: git's remote `origin`)"
    )
    command.add_argument("--hub", metavar="URL", help="the class's JupyterHub, as https://hub.example.org")
    return top


def main(argv: list[str] | None = None) -> int:
    """Run a command. Returns its exit code: 0, 1 (something is wrong), 2 (a mistake in the command), 130 (Ctrl-C)."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a Windows pipe cannot spell every sign of the tables
    args = parser().parse_args(argv)
    try:
        code = args.run(args)
        sys.stdout.flush()
        return code
    except ModuleNotFoundError as error:
        extra = f"'slmlab[{args.extra}]'"
        return _say(
            f"{error.name} is not installed here: python -m pip install {extra}, or use a clone's `python3 -m slmlab`"
        )
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `slmlab claims | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        ours = type(error).__module__.split(".")[0] in ("slmlab", "cython_kernels")
        if not ours and not isinstance(error, CommandError):  # whose module is __main__ by `python -m slmlab.cli`
            raise
        return _say(error.args[0])  # every exception class of ours speaks to the user (str() of a KeyError adds quotes)


def _say(message: str) -> int:
    print(f"slmlab: {message}", file=sys.stderr)
    return 2


def at_least_1(text: str) -> int:
    """A whole number above 0, for argparse."""
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} came, wanted a whole number of at least 1")
    return int(text)


def free_port(text: str) -> int:
    """A port number that nothing listens on, for argparse."""
    if not (text.isdecimal() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: give a number from 1 to 65535")
    if not _is_free(int(text)):
        raise argparse.ArgumentTypeError(
            f"port {text} is taken by another program: leave --port out, or choose another"
        )
    return int(text)


def _is_free(port: int) -> bool:
    with socket.socket() as s:
        if os.name != "nt":
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port closed a moment ago is free
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def hand_over(command: list[str]) -> int:
    """Become `command`; where that is impossible (Windows) wait for it. Ctrl-C and the exit code are the command's."""
    sys.stdout.flush()
    if os.name != "nt":
        os.execv(command[0], command)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return subprocess.call(command)


def _is_clone() -> bool:
    return (ROOT / "pyproject.toml").is_file()  # site-packages may well hold a folder `tests`


def _in_clone(folder: str) -> Path:
    if not _is_clone() or not (ROOT / folder).is_dir():
        raise CommandError(
            f"{folder}/ is not part of the installed package: clone the repository, and run this in the clone"
        )
    return ROOT / folder


# The commands


def lab(args: argparse.Namespace) -> int:
    import importlib.util

    if importlib.util.find_spec("jupyterlab") is None:
        raise ModuleNotFoundError(name="jupyterlab")
    labs = _in_clone("labs") if args.folder is None and _is_clone() else _copied(args.folder)
    settings = str(
        Path(__file__).parent / "jupyter"
    )  # no news from the network; the sources, with solutions, not listed
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, [os.environ.get("JUPYTER_CONFIG_PATH"), settings]))
    options = [
        f"--ServerApp.root_dir={labs}",
        "--LabApp.log_level=WARN",
        "--ServerApp.log_level=WARN",
        "--ServerApp.answer_yes=True",
    ]
    if args.port:
        options += [f"--ServerApp.port={args.port}", "--ServerApp.port_retries=0"]
    if args.no_browser:
        options.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append(
            "--allow-root"
        )  # as in a container; the address carries a secret token, and is this machine's alone
    print(f"JupyterLab starts on {labs}. Its address follows; Ctrl-C here stops it.", flush=True)
    return hand_over([sys.executable, "-m", "jupyterlab", *options])


def _copied(folder: Path | None) -> Path:
    """A student's own labs, up to date; by default those of the folder that one is in, or a new one in it."""
    from slmlab import copies

    folder = folder or (Path() if (Path() / copies.RECORD).is_file() else Path(COPY))
    print(copies.copy(folder))
    return folder.resolve()


def test(args: argparse.Namespace) -> int:
    _in_clone("tests")
    os.chdir(ROOT)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers share the machine
    return hand_over([sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", "--nbval-lax", "tests"])


def run(args: argparse.Namespace) -> int:
    from slmlab import runner

    mode = "full" if args.full else "fast"
    return 0 if runner.run(_in_clone("labs"), args.labs, mode, args.output).ok else 1


def doctor(args: argparse.Namespace) -> int:
    from slmlab import doctor as examination

    for finding in examination.examine():
        print(finding)
    return 0


def models(args: argparse.Namespace) -> int:
    from slmlab import catalog
    from slmlab import models as loading

    if args.accept_gemma_terms:
        loading.accept_gemma_terms()
        print()
    print(catalog.table(args.family))
    print(f"\nLoads here without a network: {', '.join(loading.at_hand()) or 'none'}")
    return 0


def claims(args: argparse.Namespace) -> int:
    from slmlab import claims as ledger

    print(ledger.report())
    return 0


def train(args: argparse.Namespace) -> int:
    # Read when torch is loaded. Its threads wait for each other at the end of every operation, and by default so long
    # that on two cores one busy program more makes a training not twice but twenty times as slow.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    from slmlab.minis import training

    print(f"written: {training.train(args.name, args.output or Path(args.name), tokens=args.tokens)}")
    return 0


def evaluate(args: argparse.Namespace) -> int:
    from slmlab import evaluation, minis

    def folder(name: str) -> Path:
        return args.folder / name if (args.folder / name).is_dir() else minis.folder(name)

    where = folder if args.folder else None  # without it the package's are taken, and their digests compared
    rows = evaluation.evaluate(args.names or minis.NAMES, folder=where)
    if args.record:
        from slmlab.minis import cards

        print(f"stored: {evaluation.record(rows, where)}")
        for name in dict.fromkeys(row.model for row in rows):
            print(f"written: {cards.refresh((where or minis.folder)(name))}")
        print()
    print(evaluation.table(rows))
    print(evaluation.as_json(rows))
    return 0


def export(args: argparse.Namespace) -> int:
    from slmlab import export as exporting

    print(f"written: {exporting.export(args.name, args.to, args.output)}")
    return 0


def build(args: argparse.Namespace) -> int:
    from slmlab.grading import build as notebooks

    _in_clone("labs")
    stale = notebooks.build(check=args.check)
    for path in stale:
        print(f"{'stale' if args.check else 'written'}: {path.relative_to(ROOT).as_posix()}")
    if args.check and stale:
        print("Run `slmlab build` and commit what it writes.")
        return 1
    return 0


def bundle(args: argparse.Namespace) -> int:
    from slmlab import bundle as bundling

    _in_clone("labs")
    print(bundling.make(ROOT, args.out))
    return 0


def links(args: argparse.Namespace) -> int:
    from slmlab.grading import build as notebooks
    from slmlab.grading import links as publishing

    _in_clone("labs")
    home = publishing.publish(ROOT, args.repository, args.hub)
    for path in notebooks.build(root=ROOT):
        print(f"written: {path.relative_to(ROOT).as_posix()}")
    print(f"Every link leads to {home.url}" + (f" and {home.hub}" if home.hub else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
