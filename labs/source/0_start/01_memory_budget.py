# %% [markdown]
# # 01 · Which of these models fits on your machine?
#
# A model card says "4B", a forum says "needs 3 GB", and the process is killed at 9. All three numbers can be right.
# In this lab you derive them: from a configuration of a dozen integers, to the byte, without a download.
#
# *In this lab* you count the numbers in a model, price the memory of its conversation, and find the longest context
# that your machine can hold: 45 minutes. Models: 110 configurations from the catalog, and SmolLM2-135M to prove
# that the arithmetic is not only arithmetic.

# %% [markdown]
# | term | symbol | unit or shape | Python name |
# |---|---|---|---|
# | parameter | | one stored number | `parameter_count` |
# | width of the stream between layers | | numbers | `hidden_size` |
# | query heads, key-value heads | H, H_kv | count | `num_attention_heads`, `num_key_value_heads` |
# | width of one head | D | numbers | `head_dim` |
# | KV cache: keys and values of past tokens | | bytes | `kv_cache_bytes` |
# | sliding window: how many past tokens a layer keeps | W | tokens | `sliding_window` |
# | expert: one of several MLPs a token may be sent to | E, k of E used | count | `num_experts`, `num_experts_per_tok` |
#
# GB is 10⁹ bytes, GiB is 2³⁰ bytes. The difference is 7 %, and it is the commonest reason why two correct numbers
# disagree.

# %% tags=["parameters"]
MODE = "fast"
MODEL = "smollm2-135m"  # or a hub model: "Qwen/Qwen3-0.6B"

# %% tags=["golden-setup"]
import numpy as np
from IPython.display import HTML

from slmlab import bench, catalog, claims, figures, models
from slmlab.exercises import answer, compare, exercise
from slmlab.ledger import Ledger, Row, format_bytes, html_table
from slmlab.widgets import MemoryBudget, memory_budget

rng = np.random.default_rng(1)

# %%
machine = bench.machine()
machine

# %% [markdown]
# ## 1 · How many numbers is a model?
#
# Gemma 3 270M is called a 270 M model, and it has 18 layers of attention and MLP, which is where a language model
# is said to think. The rest is a table with one row for each of 262,144 tokens.
#
# **Predict.** Which share of its parameters lies in the layers, and not in the table?

# %%
layer_share = answer("layer-share", default=0.9)  # your guess, between 0 and 1

# %%
gemma = catalog.get("Gemma 3 270M")
ledger = catalog.parameters(gemma)
in_layers = ledger.select("decoder").count / ledger.count
compare("share of Gemma 3 270M in its layers", {"by its configuration": in_layers}, layer_share)

# %% [markdown]
# A vocabulary that serves 140 languages does not shrink with the model. The smaller the model, the more of it is
# dictionary: that is why two models of one name can differ so much in what a bit less per weight saves.
#
# **Write it.** Count the numbers that a Llama-like decoder stores (no biases; each RMSNorm has one weight per
# channel; two norms a layer and one after the last). The traps: keys and values have fewer heads than queries,
# `head_dim` need not be `hidden_size / num_attention_heads`, and a tied head is stored once.


# %% tags=["exercise"]
@exercise("parameter-count")
def parameter_count(config: dict) -> int:
    """Numbers that a Llama-like decoder stores, about 10 lines.

    config: vocab_size, hidden_size, intermediate_size, num_hidden_layers, num_attention_heads,
    num_key_value_heads, head_dim (int each), tie_word_embeddings (bool).
    """
    ### BEGIN SOLUTION
    hidden = config["hidden_size"]
    query_width = config["num_attention_heads"] * config["head_dim"]
    key_width = config["num_key_value_heads"] * config["head_dim"]
    attention = 2 * hidden * query_width + 2 * hidden * key_width
    mlp = 3 * hidden * config["intermediate_size"]
    tables = 1 if config["tie_word_embeddings"] else 2
    layers = config["num_hidden_layers"] * (attention + mlp + 2 * hidden)
    return tables * config["vocab_size"] * hidden + layers + hidden
    ### END SOLUTION


# %% [markdown]
# Names are not numbers. Below, your count against the name, for models whose architecture the formula fits exactly.
# Sort them in your head first: which name is the furthest from the truth?

# %%
printed = {
    "Phi-3-mini-4k-instruct": 3.8,
    "phi-4": 14,
    "Gemma 1 2B": 2,
    "Gemma 1 7B": 7,
    "Llama3-8B-1.58-100B-tokens": 8,
}
rows = []
for name, billions in printed.items():
    count = parameter_count(catalog.get(name).config)
    rows.append([name, f"{billions} B", f"{count:,}", f"{count / billions / 1e7 - 100:+.1f} %"])
HTML(html_table(["model", "name says", "your count", "off by"], rows))

# %% [markdown]
# ## 2 · Which weights take four bits?
#
# "4-bit" is said of a whole model. In most files it is true of the matrices inside the layers alone: embedding,
# head and norms stay at 16 bit, because rounding them costs more quality than it saves memory.
#
# **Predict.** Gemma 3n E2B has 5.44 billion parameters. How many GB are its weights when "the model is 4-bit"?

# %%
e2b_gb = answer("e2b-4bit-gb", default=2.7)  # GB, your guess

# %%
e2b = catalog.get("Gemma 3n E2B")
e2b_4bit = catalog.parameters(e2b, bits=4)
sizes = {
    "every number at 4 bit": catalog.parameter_count(e2b) * 4 / 8 / 1e9,
    "layers at 4 bit, tables and encoders at 16": e2b_4bit.bytes / 1e9,
    "every number at 16 bit": catalog.weight_bytes(e2b, 16) / 1e9,
}
compare("weights of Gemma 3n E2B", sizes, e2b_gb, unit="GB")

# %% tags=["golden"]
print(catalog.parameters(catalog.get("Gemma 3n E2B"), bits=4))

# %% [markdown]
# Read the ledger from the top. The per-layer table alone is larger than all the layers together, and the word
# "effective 2B" speaks of the layers only. Lab 32 is about where that table can live. Here it is enough to see that
# the width of a model is not one number: a ledger has a column for it.
#
# The same ledger settles the best known number in this field: BitNet 2B4T "takes 0.4 GB".

# %% tags=["golden"]
bitnet = catalog.parameters(catalog.get("microsoft/bitnet-b1.58-2B-4T"), bits=2)
print(bitnet)

# %% [markdown]
# ## 3 · What does a conversation cost?
#
# Every token leaves its keys and values behind in every layer. That memory grows with the text and knows nothing of
# how many parameters the model has.
#
# **Predict.** Qwen3-0.6B has 1.2 GB of weights at 16 bit. How many GB does its cache need at 32,768 tokens?

# %%
qwen_kv_gb = answer("qwen-kv-gb", default=0.3)  # GB, your guess

# %% [markdown]
# **Write it.** The slow way is a loop over layers, tokens and heads. Every layer stores a key and a value of
# `head_dim` numbers for each key-value head and each token it keeps; a layer with a window keeps at most that many
# tokens.


# %% tags=["exercise"]
@exercise("kv-cache-bytes")
def kv_cache_bytes(
    num_key_value_heads: int, head_dim: int, windows: list[int | None], tokens: int, value_bits: int
) -> int:
    """Bytes of keys and values after `tokens` tokens, about 5 lines.

    windows: one entry a layer: how many of the last tokens it keeps, or None for all of them.
    value_bits: bits of one stored number: 4, 8, 16 or 32.
    """
    ### BEGIN SOLUTION
    kept = sum(tokens if window is None else min(tokens, window) for window in windows)
    return 2 * kept * num_key_value_heads * head_dim * value_bits // 8
    ### END SOLUTION


# %%
def layer_windows(model):
    """One entry a layer. Gemma 3: every sixth layer sees everything, the others a window."""
    config = model.config
    pattern = config.get("sliding_window_pattern")
    layers = range(1, config["num_hidden_layers"] + 1)
    return [None if not pattern or n % pattern == 0 else config["sliding_window"] for n in layers]


def cache_gb(name, tokens=32_768):
    model = catalog.get(name)
    shape = model.config["num_key_value_heads"], model.config["head_dim"]
    return kv_cache_bytes(*shape, layer_windows(model), tokens, value_bits=16) / 1e9


names = ["Qwen3-0.6B", "Qwen3-8B", "Phi-4-mini-instruct", "Gemma 3 4B"]
compare("KV cache at 32,768 tokens, 16 bit", {name: cache_gb(name) for name in names}, qwen_kv_gb, unit="GB")

# %% [markdown]
# Compare the first two bars: thirteen times fewer parameters, and nearly the same cache, because the number of
# layers, of key-value heads and the head width hardly change in a family. For a long conversation the small model's
# weights are the smaller part. The last bar is what windows buy: five of six layers of Gemma 3 forget all but the
# last 1,024 tokens.
#
# Is it true? Below, a real model reads real tokens, and its tensors are weighed.

# %%
import torch

loaded = models.load(MODEL, dtype="bfloat16")
config = loaded.model.config
token_ids = torch.from_numpy(rng.integers(0, 1000, size=(1, 48)))
with torch.inference_mode():
    cache = loaded.model(token_ids).past_key_values
held = sum(t.numel() * t.element_size() for layer in cache.layers for t in (layer.keys, layer.values))
weights = sum(p.numel() * p.element_size() for p in loaded.model.parameters())
shape = config.num_key_value_heads, config.head_dim
Ledger(
    "measured less computed, bytes (zero: the formula is the tensor)",
    [
        Row("weights", abs(weights - 2 * parameter_count(config.to_dict())), 8),
        Row("KV cache of 48 tokens", abs(held - kv_cache_bytes(*shape, [None] * config.num_hidden_layers, 48, 16)), 8),
    ],
)

# %% [markdown]
# ## 4 · Does a mixture of experts save memory?
#
# Qwen3-30B-A3B sends each token to 8 of 128 experts, so 3.35 of its 30.5 billion parameters work on a token. All
# must be resident, since the next token may ask for any of them. What is saved is *reading*: at batch 1 a CPU is as
# fast as it can read weights.
#
# **Predict.** When 32 sequences are served at once, which share of the experts does one step read?

# %%
share_at_32 = answer("experts-read-at-32", default=0.25)  # your guess, between 0 and 1

# %% [markdown]
# **Write it.** Suppose a router that spreads tokens evenly and independently: each token picks k different experts
# of E. The slow way would be to draw it many times; the expectation has a closed form. Think of one expert, and of
# the chance that no token asks for it.


# %% tags=["exercise"]
@exercise("experts-read")
def experts_read(num_experts: int, num_experts_per_tok: int, tokens: int) -> float:
    """Expected number of different experts that `tokens` tokens ask for, about 2 lines."""
    ### BEGIN SOLUTION
    missed = (1 - num_experts_per_tok / num_experts) ** tokens
    return num_experts * (1 - missed)
    ### END SOLUTION


# %%
def drawn(tokens, rounds=200):
    """The same by brute force: mean over `rounds` of the different experts that random routing touches."""
    picks = rng.random((rounds, tokens, 128)).argpartition(8, axis=-1)[..., :8]
    return np.mean([len(np.unique(pick)) for pick in picks])


shares = {f"{tokens} tokens": experts_read(128, 8, tokens) / 128 for tokens in (1, 4, 8, 16, 32)}
shares["32 tokens, drawn 200 times"] = drawn(32) / 128
compare("share of the experts that one step reads", shares, share_at_32)

# %% [markdown]
# The tenfold saving belongs to one lonely sequence. A server that batches reads nearly everything, as a dense model
# would, and a phone that runs one sequence cannot hold 30 billion parameters. Real routers are less even than this
# one, which helps a little; lab 22 measures one.

# %% [markdown]
# ## 5 · Which model fits on your machine?
#
# Weights are paid once, the cache by the token. What is left for the conversation is memory minus weights.
#
# **Predict.** With 8 GB, Phi-4-mini at 4 bit in its layers, and a 16-bit cache: how many tokens fit?

# %%
tokens_in_8gb = answer("tokens-in-8gb", default=131_072)  # your guess

# %% [markdown]
# **Write it.** With windows the cache does not grow in a straight line, so a division will not do. It never
# shrinks, though, and that is all that a bisection needs. (The reference counts up, one token at a time.)


# %% tags=["exercise"]
@exercise("longest-context")
def longest_context(
    memory_bytes: int, weight_bytes: int, layer_bytes: int, windows: list[int | None], limit: int
) -> int:
    """The most tokens, at most `limit`, for which weights and cache fit; 0 when not one does. About 9 lines.

    layer_bytes: bytes that one layer stores for one token.
    windows: one entry a layer: how many of the last tokens it keeps, or None for all of them.
    """
    ### BEGIN SOLUTION
    low, high = 0, limit  # `low` fits or is 0
    while low < high:
        tokens = (low + high + 1) // 2
        cache = sum(tokens if window is None else min(tokens, window) for window in windows) * layer_bytes
        if weight_bytes + cache <= memory_bytes:
            low = tokens
        else:
            high = tokens - 1
    return low
    ### END SOLUTION


# %%
def tokens_that_fit(name, memory_bytes, bits=4):
    model = catalog.get(name)
    layer_bytes = 2 * model.config["num_key_value_heads"] * model.config["head_dim"] * 2  # K and V, 16 bit each
    weight_bytes = catalog.weight_bytes(model, bits)
    return longest_context(memory_bytes, weight_bytes, layer_bytes, layer_windows(model), model.context_length)


in_8gb = {name: tokens_that_fit(name, 8 * 10**9) for name in ["Phi-4-mini-instruct", "Gemma 3 4B", "Qwen3-4B"]}
compare("longest context in 8 GB, layers at 4 bit", in_8gb, tokens_in_8gb, unit="tokens")

# %%
names = ["Qwen3-0.6B", "Gemma 3 1B", "Phi-4-mini-instruct", "Gemma 3 4B", "Qwen3-8B", "phi-4", "Qwen3-30B-A3B"]
half = machine.ram_bytes // 2  # the other half is for everything else that runs here
rows = [
    [name, format_bytes(catalog.weight_bytes(catalog.get(name), 4)), f"{tokens_that_fit(name, half):,}"]
    for name in names
]
HTML(
    html_table([f"in {format_bytes(half)}, half of this machine", "weights, layers at 4 bit", "tokens that fit"], rows)
)

# %% [markdown]
# The picture below is one setting of the tool under it. Move the context and watch the hatched part: it is the
# conversation. Change the bits of the weights, and see which colours do not move.

# %%
figures.memory_bars([memory_budget.state("Phi-4-mini-instruct", weight_bits=4, tokens=32_768)], memory_budget.DEVICES)

# %%
MemoryBudget()

# %% [markdown]
# ## What we found
#
# Each row: what was claimed, where, your number, and the verdict that follows from it. Nothing here is typed.

# %%
phi4 = catalog.get("phi-4")
claims.verdict("P5", {"parameters": catalog.parameter_count(phi4), "context_tokens": phi4.context_length})

# %%
phi_mini = catalog.get("Phi-4-mini-instruct")
claims.verdict(
    "P10",
    {"parameters": parameter_count(phi_mini.config), "context_tokens": phi_mini.context_length},
    beside={"kv_cache_at_full_context_bytes": catalog.kv_cache_bytes(phi_mini, phi_mini.context_length)},
)

# %%
qwen3 = [m for m in catalog.models("qwen") if m.name.startswith("Qwen3-") and (m.release or "").startswith("2025-04")]
claims.verdict("Q12", {"distinct_context_lengths": len({m.context_length for m in qwen3})})

# %%
maths = [m for m in catalog.models("qwen") if "Math" in m.name]
sizes = [catalog.parameter_count(m) for m in maths]
claims.verdict(
    "Q11",
    {
        "smallest_parameters": min(sizes),
        "largest_parameters": max(sizes),
        "longest_context_tokens": max(m.context_length for m in maths),
    },
)

# %%
gemma3 = [m for m in catalog.models("gemma") if m.series == "Gemma 3"]
claims.verdict(
    "G5",
    {
        "checkpoints_found": sum("gemma-3-8b" in (m.hub_id or "") for m in gemma3),
        "smallest_parameters": min(catalog.parameter_count(m) for m in gemma3),
    },
)

# %%
large = catalog.get("Gemma 3 27B")
claims.verdict(
    "G9",
    {
        "largest_weight_bytes": catalog.weight_bytes(large, 16),
        "largest_total_bytes": catalog.weight_bytes(large, 16) + catalog.kv_cache_bytes(large, large.context_length),
        "smallest_quantized_bytes": catalog.weight_bytes(catalog.get("Gemma 3 1B"), 4),
    },
)

# %%
contexts = {catalog.get(f"Gemma 3n {size}").context_length for size in ("E2B", "E4B")}
claims.verdict("G14", {"distinct_context_lengths": len(contexts)})

# %%
claims.verdict(
    "B5",
    {
        "file_bytes": bitnet.bytes,
        "non_embedding_bytes": bitnet.bytes - bitnet.select("embedding").bytes,
    },
)

# %% [markdown]
# ## Limits and sources
#
# The catalog's configurations carry their sources (`catalog.get(name).sources`) and the names of the fields that
# none confirms (`.unverified`). Left out here: activations while a prompt is read, the runtime's own buffers,
# fragmentation, and what an operating system keeps for itself; a rule of thumb is to leave a quarter of the memory
# free. Runtimes that ignore windows keep the whole cache. Claims:
# microsoft/edgeai-for-beginners @ 05d7c7ef, Module02. Grouped-query attention: Ainslie et al., arXiv 2305.13245.
