"""What runs on Linux alone, found by reading: patterns that Windows or macOS do not take. Used by test_portability.

ruff finds text files opened without an encoding (PLW1514) and os.path (PTH); here is what it does not know.
"""

import ast
import re
from collections.abc import Iterable, Iterator

# What is not on every system, as module: names. Under a guard that asks for the system it is fine.
ELSEWHERE_MISSING = {
    "os": """
        WEXITSTATUS WIFEXITED chown chroot confstr copy_file_range ctermid eventfd execl execle execlp execlpe execv
        execve execvp execvpe fchdir fchown fork forkpty getegid geteuid getgid getgroups getloadavg getpgid getpgrp
        getpriority getsid getuid getxattr kill killpg lchown listxattr lockf major makedev memfd_create minor mkfifo
        mknod nice openpty pathconf pipe2 posix_fadvise posix_fallocate posix_spawn posix_spawnp pread preadv pwrite
        pwritev register_at_fork sched_getaffinity sched_setaffinity sched_yield sendfile setpriority setsid setuid
        setxattr startfile statvfs symlink sync sysconf tcgetpgrp times uname unshare wait wait3 wait4 waitid
        """,
    "signal": """
        CTRL_BREAK_EVENT CTRL_C_EVENT SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGPROF SIGQUIT SIGSTOP SIGTSTP
        SIGUSR1 SIGUSR2 SIGWINCH alarm getitimer pause pthread_kill pthread_sigmask setitimer siginterrupt sigwait
        """,
    "time": "tzset clock_gettime clock_getres CLOCK_MONOTONIC CLOCK_PROCESS_CPUTIME_ID",
    "socket": "AF_UNIX SO_REUSEADDR SO_REUSEPORT",  # REUSEADDR means another thing on Windows
    "select": "select poll epoll kqueue",  # on Windows for sockets alone
    "asyncio": "WindowsSelectorEventLoopPolicy WindowsProactorEventLoopPolicy",
    "np": "float128 complex256",
    "shutil": "chown",
}
NAMES = {module: set(names.split()) for module, names in ELSEWHERE_MISSING.items()}
SYSTEM_MODULES = """
    crypt curses fcntl grp msvcrt nis posix pty pwd readline resource spwd syslog termios tty winreg winsound
    """
MODULES = set(SYSTEM_MODULES.split())
METHODS = {"madvise", "symlink_to", "hardlink_to", "lchmod"}  # of mmap and Path
GUARD = re.compile(r"os\.name|sys\.platform|platform\.system|hasattr\(|win32|darwin|linux|posix|skip", re.IGNORECASE)
SYSTEM_FOLDERS = re.compile(r"/(tmp|dev|proc|sys|etc|usr|var|home|root|opt|bin|mnt)(/|$)")
SUBPROCESS = {"run", "Popen", "check_output", "getoutput", "getstatusoutput"}
KNOWN_OPENERS = {"os", "tarfile", "zipfile", "webbrowser", "urllib", "opener", "gzip", "lzma", "bz2", "wave", "Image"}


def findings(source: str, shipped: bool = True, folders: Iterable[str] = ()) -> list[str]:
    """A line "number: what" for each pattern in a Python source.

    shipped: part of the course, not of its tests; what it writes has the same bytes on every system
    folders: of the system, such as /proc, that this file reads and can do without
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            child.parent = node
    found = []
    for node in ast.walk(tree):
        for what in _of(node, shipped, tuple(folders)):
            found.append((getattr(node, "lineno", 0), what))
    return [f"{line}: {what}" for line, what in sorted(set(found))]


def _of(node: ast.AST, shipped: bool, folders: tuple[str, ...]) -> Iterator[str]:
    if isinstance(node, ast.Call):
        yield from _of_call(node, shipped)
    elif isinstance(node, ast.Attribute):
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        if node.attr in NAMES.get(owner, ()) and not _guarded(node):
            yield f"{owner}.{node.attr} is not on every system: ask with hasattr, os.name or sys.platform first"
        if owner == "mmap" and node.attr.startswith(("MADV_", "MAP_", "PROT_")) and not _guarded(node):
            yield f"mmap.{node.attr} is not on Windows"
    elif isinstance(node, ast.Import | ast.ImportFrom):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        yield from (f"module {n} is not on every system" for n in names if n in MODULES and not _guarded(node))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not _is_docstring(node):
        yield from _of_text(node, folders)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and isinstance(node.right, ast.JoinedStr):
        colon = re.search(r"%[HM]:|%[TXc]", ast.unparse(node.right))
        yield from ["a file name with a colon: Windows takes none"] if colon else []


def _of_call(node: ast.Call, shipped: bool) -> Iterator[str]:
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    owner = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
    given = {word.arg: word.value for word in node.keywords}
    spread = None in given  # **more: what it holds is not known
    positional = [argument.value if isinstance(argument, ast.Constant) else None for argument in node.args]
    if owner and name in ("read_text", "write_text") and "encoding" not in given and not spread:
        yield f"{name} without encoding"
    if name == "write_text" and shipped and "newline" not in given and not spread:
        yield "write_text without newline: Windows would write CRLF"
    if name == "open" and owner.split(".")[0].split("(")[0] not in KNOWN_OPENERS:
        at = 0 if owner not in ("", "io") else 1
        mode = positional[at] if len(positional) > at else getattr(given.get("mode"), "value", "r")
        if isinstance(mode, str) and "b" not in mode and not spread:
            if "encoding" not in given:
                yield "open for text without encoding"
            if shipped and set(mode) & set("wax+") and "newline" not in given:
                yield "open for writing text without newline: Windows would write CRLF"
    if name in SUBPROCESS and owner in ("subprocess", ""):
        text = {word for word in ("text", "universal_newlines") if getattr(given.get(word), "value", False)}
        if text and "encoding" not in given:
            yield "a subprocess read as text without encoding: say encoding= in place of text=True"
        if getattr(given.get("shell"), "value", False):
            yield "a subprocess through a shell: every system has another one"
        of_one = {"preexec_fn", "start_new_session", "pass_fds", "process_group", "creationflags"} & set(given)
        yield from (f"subprocess with {word}, which is not on every system" for word in of_one if not _guarded(node))
    if name == "NamedTemporaryFile" and not {"delete", "delete_on_close"} & set(given):
        yield "NamedTemporaryFile: Windows does not open it by its name a second time; take a TemporaryDirectory"
    if name == "rename" and owner not in ("", "os") and len(node.args) == 1 and shipped:
        yield "rename fails on Windows where the new name is taken: replace"
    if owner == "os" and name in ("rename", "renames"):
        yield "os.rename fails on Windows where the new name is taken: replace"
    if name in METHODS and not _guarded(node):
        yield f"{name}() is not on every system"
    if name == "CDLL" and positional[:1] == [None] and isinstance(node.args[0], ast.Constant) and not _guarded(node):
        yield "ctypes.CDLL(None) is not on Windows"
    if name in ("get_context", "set_start_method") and positional[:1] in (["fork"], ["forkserver"]):
        yield f"processes by {positional[0]}: macOS and Windows begin them by spawn"
    if name in ("ProcessPoolExecutor", "Pool") and "mp_context" not in given and owner != "multiprocessing.pool":
        yield "processes without a stated start: they fork on Linux alone, and spawn elsewhere"
    if name == "send_signal" and not _guarded(node):
        yield "send_signal: Windows knows SIGTERM and two events alone; terminate() or kill()"
    takes_apart = name in ("split", "partition", "rpartition", "rsplit", "replace") and owner.startswith("str(")
    if takes_apart and positional[:1] in (["/"], ["\\"]):
        yield "a path taken apart at a separator: .parts, .name or .as_posix()"
    if name in ("getenv", "get") and owner in ("os", "os.environ") and positional[:1] in (["HOME"], ["USER"]):
        yield f"{positional[0]} is not set on Windows: Path.home(), getpass.getuser()"


def _of_text(node: ast.Constant, folders: tuple[str, ...]) -> Iterator[str]:
    text, parent = node.value, getattr(node, "parent", None)
    if SYSTEM_FOLDERS.match(text) and "\n" not in text and not text.startswith(folders or ("\0",)):
        yield f"{text}: a folder of one system"
    if isinstance(parent, ast.Call) and getattr(parent.func, "attr", "") == "strftime" and re.search("%-|%s", text):
        yield f"{text}: Windows does not know this sign of strftime"
    if re.search(r"(^|/)bin/(python|pip|activate)", text) and not _guarded(node):
        yield f"{text}: Windows's environments have Scripts/"
    if isinstance(parent, ast.Subscript) and ast.unparse(parent.value) == "os.environ" and text in ("HOME", "USER"):
        yield f"{text} is not set on Windows: Path.home(), getpass.getuser()"
    value = _value_beside(node) if text in ("PATH", "PYTHONPATH", "JUPYTER_PATH", "JUPYTER_CONFIG_PATH") else None
    if isinstance(value, ast.JoinedStr | ast.BinOp) and re.search(r"['\"}]:|:['\"{]", ast.unparse(value)):
        yield f"{text} joined by a colon: os.pathsep"


def _value_beside(node: ast.Constant) -> ast.AST | None:
    """What is stored under a key: in a dictionary, or by an assignment to it."""
    parent = node.parent
    if isinstance(parent, ast.Dict) and node in parent.keys:
        return parent.values[parent.keys.index(node)]
    if isinstance(parent, ast.Subscript) and isinstance(getattr(parent, "parent", None), ast.Assign):
        return parent.parent.value
    return None


def _is_docstring(node: ast.Constant) -> bool:
    return isinstance(getattr(node, "parent", None), ast.Expr)


def _guarded(node: ast.AST) -> bool:
    """Is the system asked before: by an `if`, a `try`, a mark that skips, or an early return above?"""
    child = node
    while (parent := getattr(child, "parent", None)) is not None:
        if isinstance(parent, ast.If | ast.IfExp | ast.While) and GUARD.search(ast.unparse(parent.test)):
            return True
        if isinstance(parent, ast.BoolOp | ast.comprehension) and GUARD.search(ast.unparse(parent)):
            return True
        if isinstance(parent, ast.Try) and child in parent.body and any(map(_handles, parent.handlers)):
            return True
        if isinstance(parent, ast.FunctionDef | ast.ClassDef) and any(map(_skips, parent.decorator_list)):
            return True
        body = getattr(parent, "body", None)
        if isinstance(body, list) and child in body and any(map(_leaves, body[: body.index(child)])):
            return True
        child = parent
    return False


def _leaves(statement: ast.stmt) -> bool:
    """Does this statement ask for the system, and end the function on one that lacks something?"""
    if not isinstance(statement, ast.If) or not GUARD.search(ast.unparse(statement.test)):
        return False
    last = statement.body[-1]
    return isinstance(last, ast.Return | ast.Raise) or "pytest.skip" in ast.unparse(last)


def _skips(mark: ast.expr) -> bool:
    """Is this a pytest mark that skips, written here or under a name of the module?"""
    if isinstance(mark, ast.Name):
        module = mark
        while hasattr(module, "parent"):
            module = module.parent
        named = [n for n in module.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == mark.id]
        return bool(named) and _skips(named[-1].value)
    return "skipif" in ast.unparse(mark)


def _handles(handler: ast.ExceptHandler) -> bool:
    caught = ast.unparse(handler.type) if handler.type else "Exception"
    return any(name in caught for name in ("ImportError", "ModuleNotFoundError", "AttributeError"))


# ------------------------------------------------------------------------------------------------------- names of files

DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"} | {
    f"{port}{n}" for port in ("com", "lpt") for n in range(10)
}
LONGEST = 150  # characters below the clone: Windows stops at 260 in all, where it was not told otherwise


def names(paths: Iterable[str]) -> list[str]:
    """A line for each path (POSIX, relative to the clone) that some file system does not take."""
    found, seen = [], {}
    for path in sorted(paths):
        for part in path.split("/"):
            if part.split(".")[0].lower() in DEVICES:
                found.append(f"{path}: {part} is a device on Windows")
            if part.endswith((".", " ")):
                found.append(f"{path}: Windows drops the end of {part!r}")
            if signs := sorted(set(re.findall(r'[<>:"|?*\\\x00-\x1f]', part))):
                found.append(f"{path}: Windows takes no {' '.join(signs)} in a name")
            if not part.isascii():
                found.append(f"{path}: macOS may spell {part!r} in other code points")
        if len(path) > LONGEST:
            found.append(f"{path}: {len(path)} characters, at most {LONGEST}")
        folders = path.split("/")
        for depth in range(1, len(folders) + 1):
            one = "/".join(folders[:depth])
            if seen.setdefault(one.lower(), one) != one:
                found.append(f"{one}: differs from {seen[one.lower()]} by case alone")
    return list(dict.fromkeys(found))
