"""Where things lie: the datasets that ship with slmlab, and the two folders it writes to.

`SLMLAB_HOME` moves both folders (tests and classrooms use it): the cache to `SLMLAB_HOME/cache`, the records
to `SLMLAB_HOME/records`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

HERE = Path(__file__).resolve().parent


def dataset(name: str) -> Path:
    """Path of the file `name` of datasets/, from a clone or from an installed wheel."""
    folders = (HERE / "_datasets", HERE.parent / "datasets")
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"datasets/{name} is in neither {folders[0]} nor {folders[1]}: reinstall slmlab")


def cache() -> Path:
    """Folder for what can be made again: converted models. It may not exist yet."""
    return _home() / "cache" if _home() else Path(platformdirs.user_cache_dir("slmlab", appauthor=False))


def records() -> Path:
    """Folder for what cannot: verdicts, answers and exercise results. It may not exist yet."""
    return _home() / "records" if _home() else Path(platformdirs.user_data_dir("slmlab", appauthor=False)) / "records"


def _home() -> Path | None:
    home = os.environ.get("SLMLAB_HOME")
    return Path(home).expanduser() if home else None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new name beside `path` (file or folder) to write to; rename it to `path` only if the block succeeds.

    A failure or Ctrl-C leaves whatever was at `path` as it was, and removes the half-written rest.
    """
    import shutil

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        yield partial
        if partial.is_dir() and path.exists():
            shutil.rmtree(path)
        partial.replace(path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)
