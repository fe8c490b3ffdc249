"""A model's folder in the hub's layout: whether it is whole and safe to read, and what its headers say."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path, PurePath

from .. import catalog
from .errors import DamagedModelError, ModelError, UnsafeModelError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PICKLES = {".bin", ".ckpt", ".pkl", ".pt", ".pth"}
TOKENIZERS = {"tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"}


@dataclass(frozen=True)
class Headers:
    """What the safetensors files hold, without their values."""

    files: dict[str, dict[str, tuple[str, tuple[int, ...]]]]  # file -> tensor -> (dtype as in the file, shape)
    packed_ternary: bool = False  # True: each U8 holds four ternary weights, as in BitNet's packed repositories


def check(folder: Path) -> None:
    """ModelError unless `folder` has a configuration, a tokenizer, and all its weights as whole safetensors files."""
    names = {file.name for file in folder.iterdir()}
    refuse_pickle(names, str(folder))
    if "config.json" not in names:
        raise DamagedModelError(f"{folder} has no config.json, so it is no model's folder")
    if not names & TOKENIZERS:
        raise DamagedModelError(f"{folder} has no tokenizer. Next: tokenizer.save_pretrained(folder)")
    missing = [file for file in weight_files(folder) if file not in names]
    if missing:
        raise DamagedModelError(f"{folder} lacks {', '.join(missing)}. Next: fetch these files again")


def refuse_pickle(names: set[str], name: str) -> None:
    """ModelError unless safetensors weights are among the file names."""
    if SINGLE in names or INDEX in names:
        return
    pickles = sorted(file for file in names if PurePath(file).suffix in PICKLES)
    if pickles:
        raise UnsafeModelError(
            f"{name} has its weights as pickle only ({', '.join(pickles[:3])}), which can run code when it is read. "
            "Next: take a safetensors version of the model"
        )
    raise DamagedModelError(f"{name} has neither {SINGLE} nor {INDEX}. Next: take a safetensors version of the model")


def refuse_config(config: dict, name: str) -> None:
    """ModelError unless transformers itself can make a text generator from `config`, with no code from elsewhere."""
    import transformers

    kind, mapping = config.get("model_type"), transformers.CONFIG_MAPPING
    if kind not in mapping or mapping[kind] not in transformers.MODEL_FOR_CAUSAL_LM_MAPPING:
        if "auto_map" in config:
            raise UnsafeModelError(f"{name} needs code from its own repository (model_type {kind!r}): slmlab runs none")
        raise ModelError(
            f"{name} has model_type {kind!r}, from which transformers {transformers.__version__} makes no text "
            "generator. Next: a newer transformers may"
        )
    method = config.get("quantization_config", {}).get("quant_method")
    if method not in (None, "bitnet"):
        raise ModelError(
            f"{name} comes quantized as {method!r}; slmlab loads unquantized and BitNet weights. Next: take the "
            "unquantized version, and quantize it with slmlab.quant"
        )


def read_config(folder: Path) -> dict:
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedModelError(f"{folder / 'config.json'} is not JSON ({error}). Next: fetch it again") from error


def weight_files(folder: Path) -> list[str]:
    """Names of the weight files that ought to be there."""
    if (folder / SINGLE).exists():
        return [SINGLE]
    return sorted(set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))


def read_headers(folder: Path) -> Headers:
    """Headers of the folder's weight files. DamagedModelError when one of them is cut short."""
    return headers({file: _header(folder / file) for file in weight_files(folder)}, read_config(folder))


def headers(files: dict, config: dict) -> Headers:
    return Headers(files, packed_ternary=config.get("quantization_config", {}).get("quant_method") == "bitnet")


def _header(file: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    # The format: 8 bytes with the header's length, the header (JSON), the values.
    size = file.stat().st_size
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8).ljust(8, b"\xff"))
        header = json.loads(opened.read(length)) if length <= size - 8 else {}
    header.pop("__metadata__", None)
    wanted = 8 + length + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    if size != wanted or not header:
        raise DamagedModelError(f"{file} has {size} bytes, wanted {wanted}: it is cut short. Next: fetch it again")
    return {name: (tensor["dtype"], tuple(tensor["shape"])) for name, tensor in header.items()}


def licence(folder: Path, hub_id: str | None) -> str:
    """As the folder's README.md states it, else as the catalog knows it for `hub_id`."""
    from huggingface_hub import ModelCard

    if (folder / "README.md").is_file():
        card = ModelCard.load(folder / "README.md", ignore_metadata_errors=True).data
        if stated := card.get("license_name") or card.get("license"):
            return stated
    try:
        return (hub_id and catalog.get(hub_id).license) or "not stated"
    except catalog.CatalogError:
        return "not stated"
