"""A whole BitNet 2B4T, token by token: transformers' ways of running it against packed weights.

    python -m slmlab.endtoend                      every contender that fits into the memory, some four minutes
    python -m slmlab.endtoend --repetitions 2      shorter
    python -m slmlab.endtoend --resident base3     only the memory of one accelerated model, in this process

The model has the published shape and random weights, the same for all contenders, drawn as the packed repository holds
them; a full float32 model is never made. Contenders run in turn in one process; a ratio is taken in each repetition
before its median is. The last line is JSON.

    decode    ms a token of generate() after a prompt of 8, batch 1
    prompt    tokens per second of a prompt of 128, to its first new token
    kernels   the same token's kernel calls alone, one after another: what is above them is attention and Python
    ids       of 64 greedy ids, those that the same model writes when its ternary matrices are unpacked: products of
              whole numbers in float32, and the specification's norm and rounding in NumPy
    blocks    of the same ids, those that transformers' own float32 blocks choose, with w1.58a8 for each product. They
              add in another order; where that moves one activation to the next of its 255 steps, thirty blocks make
              more of it. So beside it: how many choices those blocks keep when their input changes by its last bit
"""

import argparse
import gc
import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field

import numpy as np
import psutil

from slmlab import bench, catalog
from slmlab.ledger import format_bytes, table

MODEL = "BitNet b1.58 2B4T"
SCALE = 2.0**-6  # of every ternary matrix: exact in bfloat16 and as a reciprocal
SPARE_BYTES = 2 * 10**9  # of memory, for everything that is not a contender
DECODE_PROMPT, DECODE_TOKENS, PROMPT_TOKENS, GREEDY_TOKENS = 8, 16, 128, 64


@dataclass
class Contender:
    name: str
    model: object
    tokens: int  # new ones in a decode run
    decode_ms: list[float] = field(default_factory=list)  # one a repetition
    prompt_tok_per_s: list[float] = field(default_factory=list)
    kernels_ms: list[float] = field(default_factory=list)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--resident", metavar="FORMAT", help="base3 or 2bit")
    args = parser.parse_args(argv)
    if args.resident:
        print(json.dumps(resident(args.resident)))
        return 0
    print(bench.machine())
    if not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
        import torch

        print("no C++ compiler: transformers' BitNet layers run without torch.compile")
        torch.compiler.set_stance("force_eager")
    limits = [bench.read_limit()]
    contenders = list(_contenders())
    for repetition in range(args.repetitions):
        first = repetition % len(contenders)
        for contender in contenders[first:] + contenders[:first]:
            if repetition == 0 or contender.tokens > 2:  # the one that unpacks at every forward: once is long enough
                _measure(contender)
        limits.append(bench.read_limit())
    ours = next(c.model for c in contenders if c.kernels_ms)
    for contender in contenders:
        del contender.model
    ids = greedy(ours)
    del ours
    memory = {c.name: _child(c.name.split()[1]) for c in contenders if c.kernels_ms}
    _report(contenders, limits, ids, memory)
    return 0


def _report(contenders: list[Contender], limits: list, ids: dict, memory: dict) -> None:
    base = contenders[0]
    rows, results = [], []
    for c in contenders:
        decode = _quartiles(c.decode_ms)
        prompt = _quartiles(c.prompt_tok_per_s)
        repetitions = range(len(c.decode_ms))
        faster = _quartiles([base.decode_ms[i] / c.decode_ms[i] for i in repetitions])
        prompt_faster = _quartiles([c.prompt_tok_per_s[i] / base.prompt_tok_per_s[i] for i in repetitions])
        kernels = _quartiles(c.kernels_ms) if c.kernels_ms else None
        above = _quartiles([a / b - 1 for a, b in zip(c.decode_ms, c.kernels_ms, strict=True)]) if kernels else None
        rows.append(
            [
                c.name,
                f"{1000 / decode[1]:.3g}",
                f"{decode[1]:.1f} ({decode[0]:.1f} to {decode[2]:.1f})",
                f"{faster[1]:.2f} ({faster[0]:.2f} to {faster[2]:.2f})",
                f"{prompt[1]:.3g}",
                f"{prompt_faster[1]:.2f} ({prompt_faster[0]:.2f} to {prompt_faster[2]:.2f})",
                f"{kernels[1]:.1f}" if kernels else "",
                f"{above[1]:.0%}" if kernels else "",
                format_bytes(memory[c.name]["rss_bytes"]) if c.name in memory else "",
            ]
        )
        results.append(
            {
                **{"name": c.name, "decode_ms": decode, "decode_ratio": faster},
                **{"prompt_tok_per_s": prompt, "prompt_ratio": prompt_faster, "kernels_ms": kernels},
                **{"above_kernels": above, "memory": memory.get(c.name)},
            }
        )
    header = ["", "tok/s", "ms a token", f"x {base.name}", "prompt tok/s", f"x {base.name}", "kernels ms", "above them"]
    print(table([*header, "resident"], rows))
    print(f"{len(base.decode_ms)} repetitions in rotating order; medians, quartiles in brackets")
    print(f"read limit: {', '.join(f'{limit / 1e9:.1f}' for limit in limits)} GB/s; best: {max(limits)}")
    print(f"ids: {ids['equal']} of {GREEDY_TOKENS}; blocks: {ids['blocks_equal']}; last bit: {ids['noise_equal']}")
    print(f"int8 head: an error of {ids['head_rms']:.2%} of the logits, {ids['head_equal']} choices as before")
    line = {"machine": str(bench.machine()), "read_limit_bytes_per_s": [float(limit) for limit in limits]}
    print(json.dumps({**line, "greedy": ids, "rows": results}))


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    return tuple(np.percentile(values, (25, 50, 75)).tolist())


# ------------------------------------------------------------------------------------------------------------------
# The contenders


def config():
    """2B4T's, without special tokens: nothing ends a generation early."""
    from transformers import BitNetConfig

    published = {k: v for k, v in catalog.get(MODEL).config.items() if k not in ("quantization", "model_type")}
    rope = {"rope_type": "default", "rope_theta": float(published.pop("rope_theta"))}
    return BitNetConfig(**published, rope_parameters=rope, bos_token_id=None, eos_token_id=None)


def stored():
    """The model as the packed repository holds it: ternary weights four to a byte, all else bfloat16."""
    import torch
    from torch import nn
    from transformers import BitNetForCausalLM
    from transformers.models.bitnet.modeling_bitnet import BitNetRotaryEmbedding

    class Stored(nn.Module):
        """What a BitLinear of transformers holds, without its compiler."""

        def __init__(self, linear):
            super().__init__()
            self.in_features, self.out_features, self.bias = linear.in_features, linear.out_features, None
            codes = torch.randint(
                0, 3, (4, self.out_features // 4, self.in_features), dtype=torch.uint8, generator=dice
            )
            self.register_buffer("weight", codes[0] | codes[1] << 2 | codes[2] << 4 | codes[3] << 6)
            self.register_buffer("weight_scale", torch.full((1,), 1 / SCALE))

    dice = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        model = BitNetForCausalLM(config()).eval()
    for name, linear in list(model.model.layers.named_modules()):
        if isinstance(linear, nn.Linear):
            model.model.layers.set_submodule(name, Stored(linear))
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            value = torch.ones(parameter.shape, dtype=torch.bfloat16)
            if parameter.ndim == 2:
                value.normal_(std=0.02, generator=dice)
            setattr(module, name, nn.Parameter(value, requires_grad=False))
    model.model.rotary_emb = BitNetRotaryEmbedding(model.config)
    model.lm_head.weight = model.model.embed_tokens.weight
    return model


def shipped(kind: str):
    """The same model in transformers: "bf16" (dense), "autobitlinear" (unpacked), "bitlinear" (unpacks at each use)."""
    import torch
    from torch import nn

    model = stored()
    for name, layer in list(model.model.layers.named_modules()):
        if not hasattr(layer, "weight_scale"):
            continue
        if kind == "bitlinear":
            from transformers.integrations.bitnet import BitLinear

            new = BitLinear(layer.in_features, layer.out_features, bias=False, dtype=torch.bfloat16)
            new.weight, new.weight_scale = layer.weight, layer.weight_scale.to(torch.bfloat16)
        else:
            if kind == "bf16":
                dense = nn.Linear
            else:
                from transformers.integrations.bitnet import AutoBitLinear as dense
            with torch.device("meta"):
                new = dense(layer.in_features, layer.out_features, bias=False, dtype=torch.bfloat16)
            if kind == "autobitlinear":
                new.weight_scale = torch.full((1,), SCALE, dtype=torch.bfloat16)
            codes = torch.from_numpy(_codes(layer)).to(torch.bfloat16)
            new.weight = nn.Parameter(codes * SCALE if kind == "bf16" else codes, requires_grad=False)
        model.model.layers.set_submodule(name, new.eval())
    return model


def _codes(layer) -> np.ndarray:
    from cython_kernels import layouts

    return layouts.hf_unpack(layer.weight.numpy(), layer.out_features)


def _contenders():
    from slmlab.ternary import accelerate

    dense_bytes = catalog.weight_bytes(catalog.get(MODEL), 16)
    for name, tokens, size, make in (
        ("transformers bf16", DECODE_TOKENS, dense_bytes, lambda: shipped("bf16")),
        ("ours base3", DECODE_TOKENS, 2 * 10**9, lambda: accelerate(stored())),
        ("ours 2bit", DECODE_TOKENS, 2 * 10**9, lambda: accelerate(stored(), "2bit")),
        ("autobitlinear", DECODE_TOKENS, dense_bytes, lambda: shipped("autobitlinear")),
        ("bitlinear", 2, 2 * 10**9, lambda: shipped("bitlinear")),
    ):
        free = psutil.virtual_memory().available - SPARE_BYTES
        if size > free:
            print(f"{name}: left out, it takes {format_bytes(size)} and {format_bytes(max(free, 0))} are free")
            continue
        print(f"building {name}", flush=True)
        yield Contender(name, make(), tokens)
        gc.collect()


# ------------------------------------------------------------------------------------------------------------------
# Measures


class _Stamps:
    """A streamer that notes when each token comes."""

    def __init__(self):
        self.seconds = []

    def put(self, _):
        self.seconds.append(time.perf_counter())

    def end(self):
        pass


def _generate(model, prompt_tokens: int, new_tokens: int) -> tuple[object, np.ndarray]:
    """Ids, (1, all), and the seconds at which the prompt was taken and each new token came."""
    import torch

    ids = torch.randint(0, 1000, (1, prompt_tokens), generator=torch.Generator().manual_seed(1))
    stamps = _Stamps()
    ids = model.generate(ids, do_sample=False, max_new_tokens=new_tokens, pad_token_id=0, streamer=stamps)
    return ids, np.array(stamps.seconds)


def _measure(contender: Contender) -> None:
    _, seconds = _generate(contender.model, DECODE_PROMPT, 1 + contender.tokens)
    contender.decode_ms.append(1e3 * float(np.median(np.diff(seconds)[1:])))  # the first interval is the prompt's
    _, seconds = _generate(contender.model, PROMPT_TOKENS, 1)
    contender.prompt_tok_per_s.append(PROMPT_TOKENS / float(seconds[1] - seconds[0]))
    if contender.name.startswith("ours"):
        contender.kernels_ms.append(_kernels_ms(contender.model))


def _kernels_ms(model) -> float:
    """A token's kernel calls alone: four a block and the head. The median of five rounds."""
    import torch

    dice, threads = np.random.default_rng(0), torch.get_num_threads()
    calls = [
        (run, dice.standard_normal((1, linear.in_features), np.float32))
        for layer in model.model.layers
        for run, linear in zip(layer.runners(), _linears(layer), strict=True)
    ]
    calls.append((model.lm_head.runner(), dice.standard_normal((2, model.lm_head.in_features), np.float32)))
    samples = []
    for _ in range(6):  # the head's x is two terms, so two rows
        start = time.perf_counter()
        for run, x in calls:
            run(x, threads)
        samples.append(time.perf_counter() - start)
    return 1e3 * float(np.median(samples[1:]))


def _linears(layer) -> list:
    return [layer.qkv_proj, layer.o_proj, layer.gate_up_proj, layer.down_proj]


def resident(format: str) -> dict:
    """Memory of this process after it has built, accelerated and run the model."""
    from slmlab.ternary import accelerate

    model = accelerate(stored(), format)
    gc.collect()
    _generate(model, DECODE_PROMPT, DECODE_TOKENS)
    return vars(bench.memory())


def _child(format: str) -> dict:
    command = [sys.executable, "-m", "slmlab.endtoend", "--resident", format]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def greedy(model) -> dict:
    """What the accelerated model writes against the unpacked ones. Afterwards it is unpacked itself.

    equal: ids that it writes again when it is unpacked. blocks_equal: ids that transformers' blocks choose when they
    read the same ids. noise_equal: choices that those keep when each value of their input changes by its last bit.
    lead: the largest lead of such another choice, in standard deviations of the logits. head_rms: what int8 rows do to
    the logits of the bfloat16 head, relative to their size. head_equal: positions where both heads choose the same.
    """
    import torch

    ids, _ = _generate(model, DECODE_PROMPT, GREEDY_TOKENS)
    rows = torch.from_numpy(model.lm_head.codes()) * model.lm_head.weight_scale[:, None]
    source = stored()
    with torch.no_grad():
        x = rows[ids]
        x = _blocks(source, torch.cat([x, torch.nextafter(x, torch.tensor(torch.inf))]))
        x, changed = source.model.norm.float()(x)[:, DECODE_PROMPT - 1 : -1]
        logits, chosen = x @ rows.T, ids[0, DECODE_PROMPT:]
        own = logits.argmax(1)
        noise_equal = int(((changed @ rows.T).argmax(1) == own).sum())
        published = x @ source.lm_head.weight.float().T
    lead = logits.amax(1) - logits.gather(1, chosen[:, None])[:, 0]
    del source, rows
    _unpack(model)
    again, _ = _generate(model, DECODE_PROMPT, GREEDY_TOKENS)
    return {
        "equal": int((again == ids)[0, DECODE_PROMPT:].sum()),
        "blocks_equal": int((own == chosen).sum()),
        "noise_equal": noise_equal,
        "lead": float(lead.max() / logits.std()),
        "head_rms": float((logits - published).std() / published.std()),
        "head_equal": int((published.argmax(1) == own).sum()),
    }


def _blocks(source, x):
    """x (B, T, hidden) float32 through transformers' own blocks, one of them in memory at a time."""
    import torch
    from torch import nn
    from torch.nn import functional
    from transformers.models.bitnet.modeling_bitnet import BitNetDecoderLayer

    from slmlab.ternary.linear import quantize_tokens

    class Unpacked(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.codes = torch.from_numpy(_codes(layer)).float()

        def forward(self, x):
            codes, scale = quantize_tokens(x)
            return functional.linear(codes, self.codes) * (SCALE / scale)

    source.config._attn_implementation = "sdpa"
    rotary = source.model.rotary_emb(x, torch.arange(x.shape[1])[None])
    for index, layer in enumerate(source.model.layers):
        with torch.device("meta"):
            block = BitNetDecoderLayer(source.config, index).eval()
        for name, module in list(layer.named_modules()):
            if hasattr(module, "weight_scale"):
                block.set_submodule(name, Unpacked(module))
            elif "norm" in name:
                block.get_submodule(name).weight = nn.Parameter(module.weight.float())
        x = block(x, position_embeddings=rotary)
    return x


def _unpack(model) -> None:
    """Put float32 matrices and NumPy in the place of the blocks' kernel calls: four bytes a weight."""
    import torch
    from torch.nn import functional

    from cython_kernels import reference

    def runner(linear, norm, eps):
        codes = torch.from_numpy(linear.codes()).float()  # sums up to 127 * 6912 are exact

        def unpacked(tokens, threads):
            x, scale = reference.quantize(tokens, norm.numpy(), eps)
            torch.set_num_threads(threads)
            sums = functional.linear(torch.from_numpy(x).float(), codes).numpy()
            torch.set_num_threads(1)
            return sums * (linear.weight_scale.numpy() / scale[:, None])

        return unpacked

    for layer in model.model.layers:
        norms = layer.input_layernorm, layer.attn_sub_norm, layer.post_attention_layernorm, layer.ffn_sub_norm
        layer._runners = [runner(*part, layer.eps) for part in zip(_linears(layer), norms, strict=True)]


if __name__ == "__main__":
    sys.exit(main())
