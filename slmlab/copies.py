"""The labs that ship, and a student's copy of them: copied once, brought up to date later, never over their work."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from slmlab import __version__, places

RECORD = ".slmlab.json"  # in the copy: {"files": {path: sha256 of the version that was copied last}}


class CopyError(Exception):
    """The labs cannot be copied to the folder; the message says what to do instead."""


@dataclass(frozen=True)
class Copied:
    """What a copy did, as POSIX paths in the folder."""

    new: tuple[str, ...] = ()  # not there before
    updated: tuple[str, ...] = ()  # there, and nobody had changed it
    beside: tuple[tuple[str, str], ...] = ()  # (changed by the student and left alone, where the newer version is)

    def __str__(self) -> str:
        lines = [f"{len(self.new)} files copied"] if self.new else []
        lines += [f"{len(self.updated)} files brought up to date"] if self.updated else []
        lines += [f"{kept} is as you left it; its newer version lies beside it: {new}" for kept, new in self.beside]
        return "\n".join(lines) or "nothing new"


def shipped() -> Path:
    """The folder of the labs as they ship: in the package, or labs/ of a clone."""
    installed = places.HERE / "_labs"
    return installed if installed.is_dir() else places.HERE.parent / "labs"


def copy(folder: Path, source: Path | None = None) -> Copied:
    """Copy the labs (by default those that ship) to `folder`; what is there already is brought up to date.

    A file that the student changed stays as it is. When the version that ships is newer than the one they began with,
    it is written beside theirs, once. A file that they deleted comes back.

    Raises CopyError when the folder cannot be written, or is the source itself.
    """
    source = source or shipped()
    if folder.resolve().is_relative_to(source.resolve()):
        raise CopyError(f"{folder} holds the labs that ship: name another folder for your copy")
    if folder.exists() and not folder.is_dir():
        raise CopyError(f"{folder} is a file: name another folder for your copy of the labs")
    files, known = _files(source), _record(folder)
    new, updated, beside = [], [], []
    try:
        for file in files:
            path = file.relative_to(source).as_posix()
            theirs, ours = folder / path, _digest(file)
            found = _digest(theirs) if theirs.is_file() else None
            if found is None:
                _write(file, theirs)
                new.append(path)
            elif found == ours:
                pass
            elif found == known.get(path):
                _write(file, theirs)
                updated.append(path)
            elif known.get(path) != ours:
                place = _beside(theirs, ours)
                _write(file, place)
                beside.append((path, place.relative_to(folder).as_posix()))
            known[path] = ours
        with places.replacing(folder / RECORD) as partial:
            text = json.dumps({"files": known}, indent=1, sort_keys=True) + "\n"
            partial.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise CopyError(f"the labs cannot be copied to {folder} ({error}): name another folder") from error
    return Copied(tuple(new), tuple(updated), tuple(beside))


def _files(source: Path) -> list[Path]:
    """What a student gets: the syllabus, the notebooks and their pictures, without the sources and their solutions."""
    files = [*source.glob("*.md"), *source.glob("*.png"), *source.glob("[0-9]_*/[0-9][0-9]_*.ipynb")]
    if not any(file.suffix == ".ipynb" for file in files):
        raise CopyError(f"{source} holds no notebooks: reinstall slmlab")
    return sorted(files)


def _record(folder: Path) -> dict[str, str]:
    """The record of earlier copies; where it cannot be read, every file counts as changed, and none is replaced."""
    try:
        files = json.loads((folder / RECORD).read_text(encoding="utf-8"))["files"]
        return {path: digest for path, digest in files.items() if isinstance(digest, str)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _write(file: Path, target: Path) -> None:
    with places.replacing(target) as partial:
        shutil.copyfile(file, partial)  # its bytes, not its mode: what is installed may be read-only


def _beside(theirs: Path, digest: str) -> Path:
    """A free name for the newer version of `theirs`, or the one that holds it already."""
    number = 1
    while True:
        suffix = f"-{__version__}" + (f"-{number}" if number > 1 else "")
        place = theirs.with_name(f"{theirs.stem}{suffix}{theirs.suffix}")
        if not place.exists() or _digest(place) == digest:
            return place
        number += 1
