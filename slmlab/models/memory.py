"""The memory that loading takes, told from the headers alone, and the memory that there is."""

import math
import re
from pathlib import Path

from . import folders

VALUE_BYTES = {"bfloat16": 2, "float32": 4, "float16": 2}
LOADER_BYTES = 200_000_000  # the loader, and what transformers imports for a first model (146 MB seen for SmolLM2)
CGROUP = Path("/sys/fs/cgroup")
CGROUP_FILES = (  # limit and use: version 2, version 1
    (CGROUP / "memory.max", CGROUP / "memory.current"),
    (CGROUP / "memory/memory.limit_in_bytes", CGROUP / "memory/memory.usage_in_bytes"),
)


def available_bytes() -> int:
    """Memory that a program can still take: the system's figure, or what a container's limit leaves if that is less."""
    import psutil

    free = [psutil.virtual_memory().available]
    for limit, used in CGROUP_FILES:
        if limit.is_file() and used.is_file() and (text := limit.read_text(encoding="ascii").strip()) != "max":
            free.append(max(0, int(text) - int(used.read_text(encoding="ascii"))))
    return min(free)


def estimate_peak_bytes(folder_or_headers: Path | folders.Headers, dtype: str) -> int:
    """Peak of resident memory that loading in `dtype` adds to a process on the CPU; generation comes on top.

    Sum of: every stored tensor in `dtype` (a tied head that is stored a second time counts twice); the largest file,
    when its values have to be copied into another dtype or layout, else the largest tensor; once more the experts
    that are stored one by one, because the loader stacks them; and LOADER_BYTES. Integer tensors keep their width,
    except packed ternary ones: their four weights per byte are unpacked to `dtype`.
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
    return sum(target) + staging + experts + LOADER_BYTES


def _bytes_per_value(kind: str) -> float:
    """Of a dtype as safetensors writes it: BF16, F32, F8_E4M3, U8, BOOL."""
    return 1 if kind == "BOOL" else int(re.search(r"\d+", kind).group()) / 8
