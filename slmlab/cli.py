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


class CommandError(Exception):
    """The command cannot be carried out as given; the message says what to do instead."""


def parser() -> argparse.ArgumentParser:
    """The command line. `args.run` is the function of a command, `args.extra` the set of requirements it needs."""
    top = argparse.ArgumentParser(
        prog="slmlab", description="Measure small language models instead of reading about them."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(function, text, extra="labs"):
        command = commands.add_parser(function.__name__, help=text, description=text)
        command.set_defaults(run=function, extra=extra)
        return command

    command = add(lab, "open the labs in JupyterLab")
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

    command = add(build, "make the students' notebooks from labs/source", extra="test")
    command.add_argument("--check", action="store_true", help="change nothing; fail when a notebook is stale")
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
        if type(error).__module__.split(".")[0] not in ("slmlab", "cython_kernels"):
            raise
        return _say(error.args[0])  # every exception class of ours speaks to the user (str() of a KeyError adds quotes)


def _say(message: str) -> int:
    print(f"slmlab: {message}", file=sys.stderr)
    return 2


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


def _in_clone(folder: str) -> Path:
    if not (ROOT / folder).is_dir():
        raise CommandError(
            f"{folder}/ is not part of the installed package: clone the repository, and run this in the clone"
        )
    return ROOT / folder


# The commands


def lab(args: argparse.Namespace) -> int:
    import importlib.util

    labs = _in_clone("labs")
    if importlib.util.find_spec("jupyterlab") is None:
        raise ModuleNotFoundError(name="jupyterlab")
    settings = str(Path(__file__).parent / "jupyter")
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, [os.environ.get("JUPYTER_CONFIG_PATH"), settings]))
    options = [
        f"--ServerApp.root_dir={labs}",
        "--LabApp.log_level=WARN",
        "--ServerApp.log_level=WARN",
        "--ServerApp.answer_yes=True",
    ]
    options.append("--ContentsManager.hide_globs=['__pycache__', 'source']")  # the sources hold the solutions
    if args.port:
        options += [f"--ServerApp.port={args.port}", "--ServerApp.port_retries=0"]
    if args.no_browser:
        options.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append(
            "--allow-root"
        )  # as in a container; the address carries a secret token, and is this machine's alone
    print("JupyterLab starts on labs/. Its address follows; Ctrl-C here stops it.", flush=True)
    return hand_over([sys.executable, "-m", "jupyterlab", *options])


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


if __name__ == "__main__":
    sys.exit(main())
