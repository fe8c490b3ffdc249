"""A per-layer table of one's own in the place of a transformers model's: in memory, in a file, on a device.

The rows that come out are the same bits wherever the table lies, and so is everything that follows from them.
"""

import json
import mmap
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .. import places
from .files import Stored, drop

TENSOR = "embed_tokens_per_layer.weight"
DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
CHUNK_ROWS = 16  # of the weight, times the copies: a few hundred kB at a time


def store(weight: torch.Tensor, path: Path, copies: int = 1) -> Stored:
    """Write a (rows, width) matrix as a safetensors file in its own dtype, each row `copies` times over.

    The file is written piece by piece, so that a table larger than memory can be made of a small one.
    """
    if weight.ndim != 2 or weight.dtype not in NAMES:
        raise ValueError(f"weight is {tuple(weight.shape)} {weight.dtype}, wanted a matrix in {', '.join(DTYPES)}")
    if copies < 1:
        raise ValueError(f"copies is {copies}, wanted 1 or more")
    weight = weight.detach().cpu().contiguous()
    shape = [weight.shape[0] * copies, weight.shape[1]]
    size = shape[0] * shape[1] * weight.element_size()
    entry = {"dtype": NAMES[weight.dtype], "shape": shape, "data_offsets": [0, size]}
    header = json.dumps({"__metadata__": {"copies": str(copies)}, TENSOR: entry}).encode()
    header += b" " * (-len(header) % 8)
    with places.replacing(path) as new, new.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for piece in weight.split(CHUNK_ROWS):
            file.write(piece.repeat_interleave(copies, 0).view(torch.uint8).numpy())
    return open_stored(path)


def open_stored(path: Path, tensor: str | None = None) -> Stored:
    """The table in a safetensors file: `tensor`, or the one whose name ends in TENSOR."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    names = [name for name in header if (name.endswith(TENSOR) if tensor is None else name == tensor)]
    if len(names) != 1:
        wanted = TENSOR if tensor is None else tensor
        raise LookupError(f"{path} has {len(names)} tensors called {wanted}, wanted one; it has {', '.join(header)}")
    entry, copies = header[names[0]], int(header.get("__metadata__", {}).get("copies", 1))
    start = 8 + length + entry["data_offsets"][0]
    return Stored(path, start, *entry["shape"], entry["dtype"], copies)


class Held:
    """The table in memory, or on a device: all of it is read at once. `kept` is the (rows, width) tensor."""

    def __init__(self, stored: Stored, device: str | torch.device = "cpu"):
        kept = torch.empty(stored.rows, stored.width, dtype=DTYPES[stored.dtype])
        with stored.path.open("rb", buffering=0) as file:
            file.seek(stored.start)
            into = memoryview(kept.view(torch.uint8).numpy()).cast("B")
            done = 0
            while done < stored.bytes:  # one read gives 2 GiB at the most
                if not (got := file.readinto(into[done:])):
                    wanted = stored.start + stored.bytes
                    raise EOFError(f"{stored.path} ends after {stored.start + done} bytes, wanted {wanted}")
                done += got
        self.stored, self.kept = stored, kept.to(device)

    def read(self, rows: torch.Tensor) -> torch.Tensor:
        """(n,) int64 -> (n, width) on the device of the table."""
        return self.kept[rows.to(self.kept.device)]


class Mapped:
    """The table in its file, mapped into memory: the system reads the pages of the rows that are asked for.

    read_ahead: as the system does by itself, which also reads what lies around a page; False asks it not to.
    """

    def __init__(self, stored: Stored, read_ahead: bool = False):
        with stored.path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if not read_ahead and hasattr(mmap, "MADV_RANDOM"):
            self._map.madvise(mmap.MADV_RANDOM)
        words = np.frombuffer(self._map, np.uint8, stored.bytes, stored.start)
        self.stored, self._rows = stored, words.reshape(stored.rows, stored.row_bytes)

    def read(self, rows: torch.Tensor) -> torch.Tensor:
        """(n,) int64 -> (n, width) in memory."""
        copied = self._rows[rows.cpu().numpy()]
        return torch.from_numpy(copied).view(DTYPES[self.stored.dtype])

    def drop(self) -> bool:
        """Forget all pages that were read: this mapping's, then the file's. False where the system takes no advice."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
        return drop(self.stored.path)

    def close(self) -> None:
        """Give the mapping back; where files in use cannot be deleted (Windows) this comes first."""
        del self._rows
        self._map.close()


class PlacedTable(nn.Module):
    """Stands where a model has `embed_tokens_per_layer`, and looks its rows up in a Held or Mapped table.

    last_rows: the rows of the table that the last call looked up, sorted, each once: int64
    """

    def __init__(self, source: Held | Mapped, embed_scale: torch.Tensor, dtype: torch.dtype):
        super().__init__()
        self.register_buffer("embed_scale", embed_scale, persistent=False)
        self.source, self.dtype, self.last_rows = source, dtype, np.empty(0, np.int64)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """(...) int64 -> (..., width), times the scale, in the model's dtype and on the device of the ids."""
        rows = self.source.stored.copies * input_ids
        distinct, places_of = torch.unique(rows, return_inverse=True)
        self.last_rows = distinct.cpu().numpy()
        found = self.source.read(distinct).to(device=input_ids.device, dtype=self.dtype)
        return found[places_of] * self.embed_scale.to(device=input_ids.device, dtype=self.dtype)


def place(model: nn.Module, source: Held | Mapped) -> PlacedTable:
    """Let `model` look its per-layer embeddings up in `source`; the table that it had is let go.

    model: a transformers model with one module called `embed_tokens_per_layer`, or with a PlacedTable there already.
    The bits that the model computes stay the same if the table in `source` holds the same numbers.
    """
    found = [(n, module) for n, module in model.named_modules() if n.rpartition(".")[2] == "embed_tokens_per_layer"]
    if len(found) != 1:
        raise LookupError(f"{type(model).__name__} has {len(found)} modules embed_tokens_per_layer, wanted one")
    name, old = found[0]
    dtype = old.dtype if isinstance(old, PlacedTable) else old.weight.dtype
    if not isinstance(old, PlacedTable):
        rows, width = old.weight.shape
        stored = source.stored
        if (stored.rows, stored.width) != (rows * stored.copies, width):
            raise ValueError(
                f"{stored.path.name} has {stored.rows} rows of {stored.width} numbers, each {stored.copies} times over;"
                f" the model wants {rows} of {width}"
            )
    table = PlacedTable(source, old.embed_scale, dtype)
    parent = model.get_submodule(name.rpartition(".")[0])
    parent.embed_tokens_per_layer = table
    return table
