"""Models of the Hugging Face hub: out of the local cache without a question to the network, else downloaded whole."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from ..ledger import format_bytes
from . import folders
from .errors import ModelError, NotAtHandError, TermsError, TooBigError, UnknownModelError

WAIT_S = 5  # for the first answer of the hub
SMALL_FILES = {".jinja", ".json", ".md", ".model", ".txt"}  # beside the weights, what a model and tokenizer may need


def cached(hub_id: str) -> Path | None:
    """The folder in the hub's own cache that holds the whole model, or None."""
    import huggingface_hub

    found = huggingface_hub.try_to_load_from_cache(hub_id, "config.json")
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    try:
        folders.check(folder)
    except ModelError:
        return None  # a part of it: download() fetches the rest
    return folder


def cached_names() -> list[str]:
    """Hub ids of the text generators that are in the hub's cache as a whole."""
    from huggingface_hub import constants

    names = []
    for entry in sorted(Path(constants.HF_HUB_CACHE).glob("models--*")):
        hub_id = entry.name.removeprefix("models--").replace("--", "/")
        folder = cached(hub_id)
        architectures = folders.read_config(folder).get("architectures", []) if folder else []
        if any(name.endswith(("ForCausalLM", "ForConditionalGeneration")) for name in architectures):
            names.append(hub_id)
    return names


def download(hub_id: str, guard: Callable[[folders.Headers], None]) -> Path:
    """Fetch the newest revision into the hub's cache. `guard` sees the headers before any weight is fetched."""
    import huggingface_hub
    from huggingface_hub import constants

    with _explained(hub_id):
        info = huggingface_hub.HfApi().model_info(hub_id, files_metadata=True, timeout=WAIT_S)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings}
        folders.refuse_pickle(set(sizes), hub_id)
        config = folders.read_config(Path(huggingface_hub.hf_hub_download(hub_id, "config.json")).parent)
        folders.refuse_config(config, hub_id)
        found = huggingface_hub.get_safetensors_metadata(hub_id).files_metadata
        files = {
            file: {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in header.tensors.items()}
            for file, header in found.items()
        }
        guard(folders.headers(files, config))
        wanted = [file for file in sizes if file in files or _is_small(file)]
        cache = Path(constants.HF_HUB_CACHE)
        free_bytes, wanted_bytes = shutil.disk_usage(cache).free, sum(sizes[file] for file in wanted)
        if free_bytes < wanted_bytes:
            raise TooBigError(
                f"{hub_id} takes {format_bytes(wanted_bytes)} of disk, and {cache} has {format_bytes(free_bytes)} "
                "free. Next: free some, or point HF_HOME to another disk"
            )
        return Path(huggingface_hub.snapshot_download(hub_id, allow_patterns=wanted))


def _is_small(file: str) -> bool:
    path = PurePosixPath(file)
    return len(path.parts) == 1 and (path.suffix in SMALL_FILES or path.stem.startswith("LICENSE"))


@contextmanager
def _explained(hub_id: str) -> Iterator[None]:
    """The hub's and the network's errors as ours. What is at hand is added by the caller."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise TermsError(
            f"{hub_id} waits for your acceptance of its terms. Next: accept them at huggingface.co/{hub_id} with an "
            "account there, then run `hf auth login` here"
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise UnknownModelError(f"the hub has no public model {hub_id!r}. Next: check the spelling") from error
    # errors.HTTPError is that of the HTTP library in use: httpx before, httpx2 now.
    except (errors.HTTPError, errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        raise NotAtHandError(
            f"{hub_id} is not in the hub's cache as a whole, and the hub cannot be reached ({error}). Next: connect, "
            "unset HF_HUB_OFFLINE if it is set, and call again"
        ) from error
