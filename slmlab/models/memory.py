"""The memory that loading takes, told from the headers alone, and the memory that there is."""

import math
import os
import re
import sys
from pathlib import Path

from . import folders

VALUE_BYTES = {"bfloat16": 2, "float32": 4, "float16": 2}
LOADER_BYTES = 200_000_000  # the loader, and what transformers imports for a first model (146 MB seen for SmolLM2)
LATER_LOADER_BYTES = 100_000_000  # when that is imported (65 MB seen, most of it the tokenizer)
CGROUP = Path("/sys/fs/cgroup")
CGROUP_FILES = (  # limit and use: version 2, version 1
    (CGROUP / "memory.max", CGROUP / "memory.current"),
    (CGROUP / "memory/memory.limit_in_bytes", CGROUP / "memory/memory.usage_in_bytes"),
)


def available_bytes() -> int:
    """Memory that a program can still take: the system's figure, or what its limit leaves if that is less.

    The limit is a container's, or what JupyterHub and Binder write into MEM_LIMIT.
    """
    import psutil

    limits = [limit - held for limit, held in _container()] + _left_of("MEM_LIMIT")
    return max(0, min([psutil.virtual_memory().available, *limits]))


def promised_bytes() -> int:
    """Memory that a program can count on: `available_bytes`, or what is left of JupyterHub's promise if that is less.

    JupyterHub and Binder write what they guarantee into MEM_GUARANTEE; what is had beyond may be taken away.
    """
    return max(0, min([available_bytes(), *_left_of("MEM_GUARANTEE")]))


def _left_of(variable: str) -> list[int]:
    """[bytes of an environment variable, less those held]; [] where it is not set."""
    import psutil

    text = os.environ.get(variable, "")
    held = [held for _, held in _container()] or [psutil.Process().memory_info().rss]
    return [int(text) - max(held)] if text.isdigit() else []


def _container() -> list[tuple[int, int]]:
    """(limit, held) in bytes of the container that this is; [] where there is none, or one without a limit."""
    import psutil

    total = psutil.virtual_memory().total
    there = [files for files in CGROUP_FILES if files[0].is_file() and files[1].is_file()]
    limits = [(limit.read_text(encoding="ascii").strip(), _held_bytes(used)) for limit, used in there]
    return [(int(limit), held) for limit, held in limits if limit.isdigit() and int(limit) < total]


def _held_bytes(used: Path) -> int:
    """What a cgroup holds, less the files that it has read: the system takes those back before a program has to end."""
    stat = used.with_name("memory.stat")
    lines = (line.split() for line in stat.read_text(encoding="ascii").splitlines()) if stat.is_file() else ()
    counts = {name: int(count) for name, count in lines}
    version_1 = "total_" if "total_active_file" in counts else ""
    files = sum(counts.get(f"{version_1}{kind}_file", 0) for kind in ("active", "inactive"))
    return int(used.read_text(encoding="ascii")) - files


def estimate_peak_bytes(folder_or_headers: Path | folders.Headers, dtype: str) -> int:
    """Peak of resident memory that loading in `dtype` adds to a process on the CPU; generation comes on top.

    Sum of: every stored tensor in `dtype` (a tied head that is stored a second time counts twice); the largest file,
    when its values have to be copied into another dtype or layout, else the largest tensor; once more the experts
    that are stored one by one, because the loader stacks them; and LOADER_BYTES, or LATER_LOADER_BYTES where this
    process has loaded a model before. Integer tensors keep their width, except packed ternary ones: their four weights
    per byte are unpacked to `dtype`.
    """
    found = folder_or_headers
    if not isinstance(found, folders.Headers):
        found = folders.read_headers(Path(found))
    target, stored, experts, same = [], [], 0, True
    for tensors in found.files.values():
        in_file = 0
        for name, (kind, shape) in tensors.items():
            values, kept = math.prod(shape), _bytes_per_value(kind)
            in_file += math.ceil(values * kept)
            if kind == "U8" and found.packed_ternary:
                values, same = 4 * values, False
            elif not re.match("B?F", kind):
                target.append(math.ceil(values * kept))
                continue
            target.append(values * VALUE_BYTES[dtype])
            same = same and kind == {"bfloat16": "BF16", "float32": "F32", "float16": "F16"}[dtype]
            if re.search(r"\.experts\.\d+\.", name):
                experts += target[-1]
        stored.append(in_file)
    staging = max(target) if same and not experts else max(stored)
    loader = LATER_LOADER_BYTES if "transformers.modeling_utils" in sys.modules else LOADER_BYTES
    return sum(target) + staging + experts + loader


def _bytes_per_value(kind: str) -> float:
    """Of a dtype as safetensors writes it: BF16, F32, F8_E4M3, U8, BOOL."""
    return 1 if kind == "BOOL" else int(re.search(r"\d+", kind).group()) / 8
