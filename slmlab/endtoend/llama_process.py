"""llama.cpp's process: it loads a GGUF and answers prompts on its standard input with its own times.

    python -m slmlab.endtoend.llama_process FILE THREADS

In:  {"prompt": [ids], "new_tokens": n}, one a line. Out, after a first line about itself, one line each:

    {"token_ms": [...], "prompt_ms": ..., "prompt_tokens": ..., "cached_tokens": ...}

token_ms: between one new token and the next, so one fewer than there are tokens. It imports nothing that llama.cpp does
not need, since its memory is measured.
"""

import json
import os
import sys

CONTEXT_TOKENS = 256


def main(file: str, threads: int) -> None:
    import xllamacpp

    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # whatever llama.cpp prints is no answer
        server = xllamacpp.Server(_settings(xllamacpp, file, threads))
        about = {"version": xllamacpp.__version__, "system": xllamacpp.get_system_info()}
        print(json.dumps(about), file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(_answer(server, **json.loads(line))), file=answers, flush=True)


def _settings(xllamacpp, file: str, threads: int):
    """Its defaults but for: the file mapped, no search for settings that fit, nothing kept of earlier prompts."""
    settings = xllamacpp.CommonParams()
    settings.model.path = file
    settings.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_MMAP
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    settings.n_gpu_layers, settings.n_ctx, settings.n_parallel = 0, CONTEXT_TOKENS, 1
    settings.fit_params, settings.cache_prompt, settings.cache_ram_mib = False, False, 0
    return settings


def _answer(server, prompt: list[int], new_tokens: int) -> dict:
    """Greedy, and never at an end before new_tokens."""
    timings = []
    request = {"prompt": prompt, "max_tokens": new_tokens, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
    request |= {"stream": True, "timings_per_token": True}
    server.handle_completions(request, lambda part: timings.append(part["timings"]))
    ms = {part["predicted_n"]: part["predicted_ms"] for part in timings}  # since the first token, as of each token
    if sorted(ms) != list(range(1, new_tokens + 1)):
        raise RuntimeError(f"times of the tokens {sorted(ms)} came, wanted 1 to {new_tokens}")
    return {
        "token_ms": [ms[n + 1] - ms[n] for n in range(1, new_tokens)],
        "prompt_ms": timings[0]["prompt_ms"],
        "prompt_tokens": timings[0]["prompt_n"],
        "cached_tokens": timings[0]["cache_n"],
    }


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
