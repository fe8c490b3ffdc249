# %% [markdown]
# # 32 · Where do Gemma 3n's other billions live?
#
# Gemma 3n E2B has 5.44 billion parameters and is called 2B. The others, one reads, are "per-layer embeddings" and need
# not be in the accelerator's memory. Is it all of them? Where are they then? And what does it cost to leave them on a
# disk?
#
# *In this lab* you count a Gemma 3n to the last parameter, move the table of a small one between memory and disk while
# it speaks, watch the system's pages, and find out when "2 GB" is true: 90 minutes. Models: mini-gemma3n, offline, and
# the published shapes of E2B and E4B.

# %% [markdown]
# | term | symbol | unit or shape | Python name |
# |---|---|---|---|
# | per-layer embeddings (PLE): one row a token, a part for each layer | | (V, L·p) | `table` |
# | layers; width of a layer's part of a row | L; p | count | `num_hidden_layers`, `hidden_size_per_layer_input` |
# | page: what the system reads and keeps as a whole | | bytes, often 4,096 | `ple.PAGE_BYTES` |
# | resident: a page of a file that is in memory | | bytes | `ple.resident_bytes` |
# | anonymous memory: what a program made itself | | bytes | `bench.memory().anonymous_bytes` |
# | mapped: a file that looks like memory | | | `ple.Mapped` |
# | read ahead: what the system reads before anybody asked | | bytes | `ple.read_ahead_bytes` |
# | cold, warm: its pages must be read first, or are there | | | |
#
# Anonymous memory is taken until the program gives it back. Pages of a file are the system's: it drops them when
# memory is short, and reads them again.

# %% tags=["parameters"]
MODE = "fast"
# MODE = "full" times ten times as many tokens
# MODEL: or of the hub, "google/gemma-3n-E2B-it": gated, 24 GB of memory, 5 GB of disk, not tried
MODEL = "mini-gemma3n"

# %% tags=["golden-setup"]
import itertools
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from IPython.display import HTML

from slmlab import bench, catalog, claims, figures, models, ple
from slmlab.evaluation import generation
from slmlab.exercises import answer, compare, exercise
from slmlab.ledger import format_bytes, html_table, table
from slmlab.minis import corpus, recipes, tokenizer
from slmlab.widgets import PLEInspector, ple_inspector, talk

E2B, E4B = catalog.get("Gemma 3n E2B"), catalog.get("Gemma 3n E4B")

# %%
if MODE == "fast":
    torch.set_num_threads(1)  # on models this small two threads gain little, and wait much
model, words = models.load(MODEL, "float32" if MODEL.startswith("mini-") else "bfloat16")
text_model = getattr(model.model, "language_model", model.model)
weight = text_model.embed_tokens_per_layer.weight.detach().bfloat16()  # as in the model's file
print(bench.machine())
print(*ple.limits(), sep="\n")

# %% [markdown]
# ## 1 · Where are 5.44 billion parameters?
#
# "Effective 2B" is explained by the per-layer embeddings: without them, 2 billion are left. Take E2B's 5.44 billion,
# take that table off, and see.
#
# **Predict.** How many billions does "effective" leave out *beside* the per-layer table?

# %%
left_out_guess = answer("left-out-beside-the-table", default=0.0)  # billions, your guess

# %% [markdown]
# Count. These are all tensors of the text model. (Attention and MLP you know; AltUp keeps s copies of the stream
# between layers, LAuReL is a narrow path beside it. Here they are numbers to be counted.) d, f, L, p, r and s are
# `hidden_size`, `intermediate_size`, `num_hidden_layers`, `hidden_size_per_layer_input`, `laurel_rank`,
# `altup_num_inputs`; H and H_kv the numbers of heads, D their `head_dim`.
#
# | where | tensors | shape of each |
# |---|---|---|
# | once | token embedding, which is the output head too | `vocab_size` x d |
# | once | per-layer table | `vocab_size_per_layer_input` x L·p |
# | each layer | query, output | d x H·D |
# | each layer | key, value | d x H_kv·D |
# | each layer | gate, up, down | d x f |
# | each layer | LAuReL: down, up | d x r |
# | each layer | gate and projection of the layer's part of the row | d x p |
# | each layer | AltUp: correction; prediction; router | s x s; s x s²; d x s |
# | each layer | AltUp: norm of the router, output scale | d |
# | each layer | six norms; norms of query and key | d; D |
# | once | projection d x L·p for all layers, its norm | d x L·p; p |
# | once | AltUp: s - 1 projections in, s - 1 out | d x d |
# | once | last norm | d |
#
# **Write it.** Everything that is not one of the first two lines is the decoder.


# %% tags=["exercise"]
@exercise("gemma3n-counts")
def gemma3n_counts(config: dict) -> dict[str, int]:
    """Numbers stored: {"per-layer table": …, "token embedding": …, "decoder": …}. About 15 lines.

    config: vocab_size, vocab_size_per_layer_input, hidden_size, hidden_size_per_layer_input,
    intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim,
    laurel_rank, altup_num_inputs: int each.
    """
    ### BEGIN SOLUTION
    d, p = config["hidden_size"], config["hidden_size_per_layer_input"]
    layers = config["num_hidden_layers"]
    s, width = config["altup_num_inputs"], config["head_dim"]
    attention = 2 * d * width * (config["num_attention_heads"] + config["num_key_value_heads"])
    mlp = 3 * d * config["intermediate_size"]
    small = 2 * d * config["laurel_rank"] + 2 * d * p
    altup = s**2 + s**3 + d * s + 2 * d
    norms = 6 * d + 2 * width
    once = d * layers * p + p + 2 * (s - 1) * d * d + d
    return {
        "per-layer table": config["vocab_size_per_layer_input"] * layers * p,
        "token embedding": config["vocab_size"] * d,
        "decoder": layers * (attention + mlp + small + altup + norms) + once,
    }
    ### END SOLUTION


# %%
counts = {}  # name -> parameters by component
for published in (E2B, E4B):
    counts[published.name] = gemma3n_counts(published.config)
    rest = published.stored_parameters - sum(counts[published.name].values())
    counts[published.name]["encoders"] = rest  # what is there for images and sounds
names = ["per-layer table", "token embedding", "decoder", "encoders"]
rows = [[name, *(f"{counts[m.name][name]:,}" for m in (E2B, E4B))] for name in names]
HTML(html_table(["parameters", "Gemma 3n E2B", "Gemma 3n E4B"], rows))

# %%
beside = {name: (parts["token embedding"] + parts["encoders"]) / 1e9 for name, parts in counts.items()}
compare("left out of 'effective' beside the per-layer table", beside, left_out_guess, unit="billions")

# %% [markdown]
# The encoders' count is a rest: checkpoint less text model. Two checkpoints of different size, and the same rest to
# the last digit: had you miscounted one number of a layer, the two would differ by five, because E4B has five layers
# more. A check that needs no key.
#
# Google's own "effective" figures, 1.91 and 3.98 billion (quoted second-hand), are the decoder alone. Not only the
# table is left out, but three things: the table, the encoders, *and the token embedding*. The last one is worth a
# second look.

# %% [markdown]
# ## 2 · What does one token read?
#
# A memory is worth having close if it is read often. A server's accelerator reads weights once for many tokens; a
# phone serves one user, and reads them anew for each token.
#
# **Predict.** To generate one token of text, how many of E2B's 5.44 billion parameters are read?

# %%
read_guess = answer("read-for-a-token", default=1.91)  # billions, your guess

# %% [markdown]
# What an output depends on must have been read. So ask the mini: push one token through, and look where the gradient
# of its scores is not zero. `embed_tokens` is the token embedding, `embed_tokens_per_layer` the per-layer table.

# %%
TOKEN = words.encode(" the", add_special_tokens=False)[0]
model.zero_grad()
scores = model(torch.tensor([[TOKEN]]), use_cache=False).logits
scores.sum().backward()
for name in ("embed_tokens", "embed_tokens_per_layer"):
    moved = getattr(text_model, name).weight.grad.abs().amax(dim=1) > 0
    print(f"{name:23} {int(moved.sum()):5,} of {len(moved):,} rows have a part in the next token")
model.zero_grad(set_to_none=True)

# %% [markdown]
# Two tables with a row for each token, and they could not be more different. The token embedding is the output head
# as well: every next token is scored against every row. Of the per-layer table, one row is looked up.

# %%
read = {m.name: ple.reads(m) for m in (E2B, E4B)}
shown = {f"{name}, read for a token": sum(parts.values()) / 1e9 for name, parts in read.items()}
shown["E2B, 'effective'"] = counts[E2B.name]["decoder"] / 1e9
compare("parameters", shown, read_guess, unit="billions")

# %% tags=["golden"]
header = ["Gemma 3n E2B, parameters", "stored", "read for a token", "share"]
stored_counts, read_counts = ple.components(E2B), ple.reads(E2B)
rows = [
    [name, f"{total:,}", f"{read_counts[name]:,}", f"{read_counts[name] / total:.5%}"]
    for name, total in stored_counts.items()
]
print(table(header, rows))

# %% [markdown]
# (Not all of the decoder is read: the checkpoint stores keys' and values' projections for ten layers that take both
# from a layer below. Nothing reads them.)
#
# So the embedding is left out of "effective", but it cannot be left out of the accelerator, unless something else
# computes the head, for every token. The makers seem to have thought so too. Gemma 4 has per-layer embeddings again,
# and counts them out again, but keeps the token embedding in:

# %% tags=["golden"]
rows = []
for m in (E2B, E4B, catalog.get("Gemma 4 E2B"), catalog.get("Gemma 4 E4B")):
    parts = ple.components(m)
    rule = "decoder" if catalog.effective_parameters(m) == parts["decoder"] else "decoder, embedding"
    sizes = parts["decoder"], parts["decoder"] + parts["token embedding"], sum(parts.values())
    rows.append([m.name, rule, *(f"{size / 1e9:.2f}" for size in sizes)])
header = ["billions", "its 'effective' counts", "decoder", "and embedding", "all"]
print(table(header, rows, left=(0, 1)))

# %% [markdown]
# An E2B of one year is not an E2B of the next. By Gemma 4's rule, Gemma 3n E2B would have been called E2.4B.

# %% [markdown]
# ## 3 · What does a table in a file cost in memory?
#
# Now for real. The mini's table has 2,048 rows of 6 · 32 numbers. A Gemma's has 262,144 rows, so the next cell writes
# a file with nearly as many: every row of the mini 127 times over. Token t has row 127·t; the others are copies that
# no token asks for. (127, so that rows begin anywhere on a page. What a lookup costs does not depend on what is
# found.)

# %%
folder = tempfile.TemporaryDirectory(prefix="slmlab-")
copies = max(1, 262_144 // len(weight) - 1)
stored = ple.store(weight, Path(folder.name) / "table.safetensors", copies)
print(f"{stored.rows:,} rows of {stored.row_bytes} bytes: {format_bytes(stored.bytes)} on the disk")

others = [p for name, p in model.named_parameters() if "per_layer.weight" not in name]
rest_bytes = sum(p.numel() * p.element_size() for p in others)
print(f"all else of the model, in memory: {format_bytes(rest_bytes)}")

# %% [markdown]
# To *map* a file is to give its bytes addresses. Nothing is read until an address is used; then the system reads the
# page, and keeps it. The mini gets its rows in three ways: from a copy of the table in RAM; from the mapped file; from
# the mapped file with the advice that accesses will be random.
#
# **Predict.** The mini reads a prompt of 16 tokens: at most 16 rows of 384 bytes. How many MB of the mapped file are
# in memory afterwards, without the advice?

# %%
mapped_guess = answer("mapped-mb", default=0.006)  # MB, your guess

# %%
chat = [{"role": "user", "content": "What is the capital of Japan?"}]
how = {"add_generation_prompt": True, "return_tensors": "pt", "return_dict": True}
prompt = words.apply_chat_template(chat, **how)["input_ids"]  # (1, T)


def scores_of(ids):
    with torch.inference_mode():
        return model(ids, use_cache=False).logits


def spoken():
    mask = torch.ones_like(prompt)
    return model.generate(prompt, attention_mask=mask, max_new_tokens=12, eos_token_id=None)


expected, said = scores_of(prompt), spoken()
baseline = bench.memory().anonymous_bytes  # None where the system does not tell


# %%
def try_out(source):
    """Place the table, forget the file, read the prompt: the same bits? what is in memory?"""
    ple.place(model, source)
    ple.drop(stored.path)
    same = torch.equal(scores_of(prompt), expected)
    resident = ple.resident_bytes(stored.path)
    same = same and torch.equal(spoken(), said)
    anonymous = bench.memory().anonymous_bytes
    return same, None if anonymous is None else anonymous - baseline, resident


def mb(size):
    return "unknown" if size is None else f"{size / 1e6:,.2f}"


found = {
    "in RAM": try_out(ple.Held(stored)),
    "mapped": try_out(ple.Mapped(stored, read_ahead=True)),
    "mapped, random": try_out(ple.Mapped(stored)),
}
header = ["table", "same bits", "anonymous MB more", "MB of the file in memory"]
rows = [[name, "yes" if same else "NO", *map(mb, sizes)] for name, (same, *sizes) in found.items()]
HTML(html_table(header, rows))

# %%
mapped = {name: there for name, (*_, there) in found.items() if name != "in RAM"}
resident_mb = {name: there / 1e6 for name, there in mapped.items() if there is not None}
resident_mb["the rows themselves"] = len(torch.unique(prompt)) * stored.row_bytes / 1e6
compare("MB of the file in memory after 16 tokens", resident_mb, mapped_guess, unit="MB")

# %%
for name in [name for name in resident_mb if name.startswith("mapped")]:
    each = resident_mb[name] / resident_mb["the rows themselves"]
    print(f"{name}: {each:,.0f} bytes in memory for each that was asked for")
ahead = ple.read_ahead_bytes(stored.path)
print("at most read ahead:", "unknown" if ahead is None else format_bytes(ahead))

shuffled = weight[torch.randperm(len(weight), generator=torch.Generator().manual_seed(0))]
tables = {"its own table": stored}
for name, other in {"a table of zeros": torch.zeros_like(weight), "rows shuffled": shuffled}.items():
    tables[name] = ple.store(other, stored.path.with_name(f"{name}.safetensors"))
    ple.place(model, ple.Held(tables[name]))
    moved = (scores_of(prompt) - expected).abs().max()
    print(f"{name}: scores move by up to {moved:.3f}")

# %% [markdown]
# The bits are the same wherever the table lies; the last two lines show that this means something, since another table
# does change the scores. In RAM the table is anonymous memory, all of it. Mapped, none of it is.
#
# And the middle row: the system guesses that who reads a page will read its neighbours, and reads ahead. For a film
# that is right. For a table that is looked up at random, what comes in is mostly what nobody asked for, and it may
# push out what somebody needs. `madvise(MADV_RANDOM)` is one line. A runtime that maps a Gemma 3n without it has a
# fault that no test of its answers will ever show.

# %% [markdown]
# Why bits, and not answers? Let the mini sit an exam, 60 facts in wordings that training never used, with three
# tables: its own, one of zeros, and one in which every token has another token's row.
#
# **Predict.** How many of the 60 answers are right with the table of zeros?

# %%
zeros_right = answer("right-without-a-table", default=20)  # your guess, of 60

# %%
documents, stop = corpus.exams.facts("new", 60, seed=2), tokenizer.stop_ids(words)
questions = [talk.prompt(words, document.messages[0]["content"]) for document in documents]
prompts = [words.encode(question, add_special_tokens=False) for question in questions]
right = {}
for name, other in tables.items():
    ple.place(model, ple.Held(other))
    said = generation.greedy(model, prompts, 32, stop)
    texts = [words.decode(ids, skip_special_tokens=True).strip() for ids in said]
    right[name] = sum(text == d.answer for text, d in zip(texts, documents, strict=True))
compare("right answers of 60", right, zeros_right)

# %% [markdown]
# If the bars are nearly equal, an exam does not notice that the whole table is wrong: the scores move, and the
# likeliest word stays the likeliest. So a placement is tested by bits. It also means that the mini does not need its
# table for these facts. What E2B needs its own for, only E2B can tell.

# %% [markdown]
# ## 4 · How slow may the disk be?
#
# A row does not come alone: a disk gives whole pages. **Write it:** which pages of the file does a set of rows lie on?
# The slow way asks every byte. The traps: the table does not begin with the file, a row may lie on two pages or on
# five, and two rows may share one.


# %% tags=["exercise"]
@exercise("pages-read")
def pages_read(rows: np.ndarray, row_bytes: int, start: int, page_bytes: int) -> np.ndarray:
    """Numbers of the pages that hold a byte of the rows: sorted, each once, int64. About 4 lines.

    rows: (n,) int64, in any order, some more than once. Row r has the `row_bytes` bytes of the file
    from start + r * row_bytes on; page n those from n * page_bytes on.
    """
    ### BEGIN SOLUTION
    first = (start + rows * row_bytes) // page_bytes
    last = (start + (rows + 1) * row_bytes - 1) // page_bytes
    spans = [np.arange(low, high + 1) for low, high in zip(first, last, strict=True)]
    return np.unique(np.concatenate(spans)).astype(np.int64)
    ### END SOLUTION


# %%
told = map(str, itertools.islice(corpus.documents(recipes.recipe("mini-gemma3n").mixture, 1), 40))
ids = np.concatenate([words.encode(text, add_special_tokens=False) for text in told])[:400]
page = ple.PAGE_BYTES
E2B_ROW = 30 * 256 * 2  # bytes, 16 bits a number
table_rows = {"the mini's rows": (stored.row_bytes, stored.start), "E2B's rows": (E2B_ROW, 0)}
rows = []
for name, (row_bytes, start) in table_rows.items():
    for count in (1, 40, 400):
        asked = np.unique(ids[:count]) * stored.copies
        taken = pages_read(asked, row_bytes, start, page)
        used, moved = asked.size * row_bytes, taken.size * page
        sizes = format_bytes(used), format_bytes(moved), f"{moved / used:.2f}"
        rows.append([name, f"{count}", f"{asked.size}", *sizes])
HTML(html_table(["", "tokens", "different rows", "asked for", "in pages", "ratio"], rows))

# %%
source = ple.Mapped(stored)
source.drop()
source.read(torch.from_numpy(ids * stored.copies))
there = ple.resident_pages(stored.path)
mine = pages_read(ids * stored.copies, stored.row_bytes, stored.start, page)
if there is None or ple.limits():
    print("Which pages were read cannot be seen here:", *ple.limits())
else:
    print(f"pages of 400 tokens: {mine.size} by your function, {there.sum()} in memory,", end=" ")
    print("the same ones" if np.array_equal(np.flatnonzero(there), mine) else "not the same ones")

# %% [markdown]
# A row of E2B fills almost four pages, so little is wasted; a short row drags a page along. The column of different
# rows tells something else: text repeats itself, so 400 tokens need far fewer than 400 rows, and a page that was read
# once stays while there is room.
#
# Now the worst case: *all* pages are thrown away before *every* token.
#
# **Predict.** How many times as long does a token of the mini take then, compared with the table in RAM?

# %%
cold_guess = answer("cold-token-ratio", default=3.0)  # your guess; 1 is no slower

# %%
sources = {"RAM": ple.Held(stored), "disk": ple.Mapped(stored)}
times = {name: [] for name in sources}
for id in ids[: 40 if MODE == "fast" else 400].tolist():
    for name, source in sources.items():
        ple.place(model, source)
        if name == "disk":
            source.drop()
        start = time.perf_counter()
        scores_of(torch.tensor([[id]]))
        times[name].append(1e3 * (time.perf_counter() - start))
ratio = np.array(times["disk"]) / np.array(times["RAM"])
q1, median, q3 = np.percentile(ratio, (25, 50, 75))
print(f"a token with the table in RAM: {np.median(times['RAM']):.2f} ms")
print(f"with a cold table {median:.2f} times that ({q1:.2f} to {q3:.2f})")
compare("a token, table cold, over one, table in RAM", {"median": median, "q3": q3}, cold_guess)

# %% [markdown]
# If the ratio is near 1, the disk is not what the mini waits for, small as it is. A real E2B takes far longer for a
# token, and its row is read in one piece as well.
#
# **Write it.** A model of a disk: how long until it has given a set of pages? Pages that follow one another come in
# one read. Each read waits; a good disk lets several wait together. Then the bytes must come through.


# %% tags=["exercise"]
@exercise("fetch-seconds")
def fetch_seconds(
    pages: np.ndarray,
    page_bytes: int,
    latency_s: float,
    bytes_per_s: float,
    queue: int,
) -> float:
    """Seconds until a disk has given the pages of a file. About 4 lines.

    pages: (n,) int64, sorted, each once. Pages that follow one another are one read. The disk works
    on `queue` reads at a time, and such a round waits latency_s once; all bytes, at bytes_per_s,
    come on top. No pages take no time.
    """
    ### BEGIN SOLUTION
    reads = int((np.diff(pages, prepend=-2) != 1).sum())
    rounds = -(-reads // queue)
    return rounds * latency_s + len(pages) * page_bytes / bytes_per_s
    ### END SOLUTION


# %% [markdown]
# Four disks, as orders of magnitude (recalled, not measured: put in your own); the one that you sit at, its latency
# measured on rows of E2B's size; and this machine's memory at its read limit.
#
# **Predict.** The table of E2B lies on a hard disk that takes 12 ms to find a place. How many tokens a second are
# possible at the most, if every row is cold?

# %%
hard_disk_guess = answer("hard-disk-tokens-per-s", default=3.0)  # your guess

# %%
as_e2b = replace(stored, rows=stored.bytes // E2B_ROW, width=E2B_ROW // 2)  # other rows, same bytes
wide = ple.Mapped(as_e2b)
waits = []
for row in np.random.default_rng(0).integers(0, wide.stored.rows, 40):
    wide.drop()
    start = time.perf_counter()
    wide.read(torch.tensor([row]))
    waits.append(time.perf_counter() - start)
wide.drop()
start = time.perf_counter()
with stored.path.open("rb") as file:
    while file.read(2**22):
        pass
bytes_per_s = stored.bytes / (time.perf_counter() - start)
DISKS = {  # latency in s, bytes/s, reads at a time
    "memory, here": (1e-7, float(bench.read_limit()), 1),
    "hard disk": (12e-3, 150e6, 1),
    "memory card": (0.7e-3, 50e6, 1),
    "phone's flash": (0.15e-3, 1e9, 8),
    "NVMe": (0.08e-3, 3e9, 32),
    "this disk": (float(np.median(waits)), bytes_per_s, 1),
}

# %%
one_row = pages_read(ids[:1] * copies, E2B_ROW, 0, page)
text_rows = pages_read(ids * copies, E2B_ROW, 0, page)
every_token = ple.placed(E2B, ple_inspector.PUBLISHED).select("accelerator").bytes  # 4.5-bit decoder
asked = one_row, text_rows, np.arange(every_token // page)
seconds = {disk: [fetch_seconds(pages, page, *how) for pages in asked] for disk, how in DISKS.items()}
header = ["ms to read from", "a token's row", "rows of 400 tokens", "decoder and head, once a token"]
rows = [[disk, *(f"{1e3 * s:,.2f}" for s in taken)] for disk, taken in seconds.items()]
HTML(html_table(header, rows))

# %%
some = "hard disk", "memory card", "this disk"
at_most = {f"rows cold on {disk}": 1 / seconds[disk][0] for disk in some}
at_most["decoder and head in memory, here"] = 1 / seconds["memory, here"][2]
compare("tokens a second, if nothing else were waited for", at_most, hard_disk_guess)

# %% [markdown]
# One read of a few pages for each token. If the last bar is the shortest, even a hard disk with cold rows keeps up
# with what this machine's memory allows the rest of E2B. Where patience ends is the second column: before the first
# word comes, the rows of the whole prompt must be there.
#
# The last column is why it has to be *this* part of the model that lies on the disk. Decoder and head are read in full
# for each token. The table is the one part that is large and hardly read. That, and not its size, is the idea.

# %% [markdown]
# ## 5 · When is it 2 GB?
#
# "Runs in as little as 2 GB", and in the chapter that says so a piece of code loads the model.
#
# **Predict.** How many GB does that code, bfloat16 and no further words, take for E2B?

# %%
loaded_guess = answer("chapter-code-gb", default=2.0)  # GB, your guess

# %%
rows, sizes_of = [], {}
conditions = ("accelerator", "disk"), ("accelerator", ple.LEFT_OUT), (16, 4.5)
for table_at, encoders, bits in itertools.product(*conditions):
    choices = {
        "decoder": ple.Choice("accelerator", bits),
        "token embedding": ple.Choice("accelerator"),
        "per-layer table": ple.Choice(table_at),
        "encoders": ple.Choice(encoders),
    }
    sizes = [ple.placed(m, choices).select("accelerator").bytes for m in (E2B, E4B)]
    sizes_of[table_at, encoders, bits] = sizes
    limits = zip(sizes, (2.5e9, 3.5e9), strict=True)
    told = [f"{size / 1e9:.2f} {'yes' if size < limit else 'no'}" for size, limit in limits]
    rows.append([table_at, encoders, f"{bits:g}", *told])
header = ["per-layer table", "encoders", "bits of the decoder", "E2B: 2 GB?", "E4B: 3 GB?"]
HTML(html_table(header, rows, left=(0, 1)))

# %%
first, *_, last = sizes_of.values()  # E2B's and E4B's bytes each
names = "as the chapter's code loads it", "with all three conditions"
gigabytes = {name: size / 1e9 for name, (size, _) in zip(names, (first, last), strict=True)}
compare("Gemma 3n E2B on the accelerator", gigabytes, loaded_guess, unit="GB")

# %% [markdown]
# Eight ways to load it, and one meets the numbers, both at once: table elsewhere, text alone, decoder in about 4 bits
# (4.5 with its scales; the embedding stays in 16). So it may well be what was meant. The chapter's sentence names none
# of the three conditions.
#
# So far you chose the places. Let arithmetic choose. **Write it:** components have bytes that are stored and bytes
# that a token reads; places have room and speed. Try all ways; the fastest that fits wins. (Three components in three
# places: 27 ways.)


# %% tags=["exercise"]
@exercise("fastest-places")
def fastest_places(
    components: dict[str, tuple[int, int]],
    places: dict[str, tuple[int, float]],
) -> dict[str, str]:
    """The place of each component with which a token takes the least time. About 11 lines.

    components: name -> (bytes stored, bytes that a token reads). places: name -> (capacity in bytes,
    bytes per second). A token takes the sum over the components of what it reads by the speed of
    where that is. Of equally fast ways counts the one with the fewest bytes in the first place,
    then in the second, and so on. {} where nothing fits.
    """
    ### BEGIN SOLUTION
    best, found = None, {}
    for way in itertools.product(places, repeat=len(components)):
        held, seconds = dict.fromkeys(places, 0), 0.0
        for place, (size, read) in zip(way, components.values(), strict=True):
            held[place] += size
            seconds += read / places[place][1]
        rank = seconds, *held.values()
        if all(held[p] <= places[p][0] for p in places) and (best is None or rank < best):
            best, found = rank, dict(zip(components, way, strict=True))
    return found
    ### END SOLUTION


# %% [markdown]
# E2B with everything in 16 bits, text alone: decoder 3.8 GB, embedding 1.1, table 4.0. An accelerator of 100 GB/s; 4
# GB of RAM at 20 GB/s; a disk of 1 GB/s.
#
# **Predict.** How much memory must the accelerator have before the table is put on it?

# %%
table_on_guess = answer("table-on-accelerator-gb", default=5.0)  # GB, your guess

# %%
sizes, reading = ple.components(E2B), ple.reads(E2B)
names = ["decoder", "token embedding", "per-layer table"]
components = {name: (2 * sizes[name], 2 * reading[name]) for name in names}  # bytes
slower = {"RAM": (4 * 10**9, 20e9), "disk": (10**12, 1e9)}
chosen = {}
for half_gb in range(1, 25):
    accelerator = {"accelerator": (half_gb * 500_000_000, 100e9)}
    chosen[half_gb / 2] = fastest_places(components, accelerator | slower)
rows = [[f"{gb:g} GB", *chosen[gb].values()] for gb in (1, 1.5, 3.5, 4, 5, 8.5, 9)]
on_it = {name: min(gb for gb, way in chosen.items() if way[name] == "accelerator") for name in names}
HTML(html_table(["accelerator", *components], rows, left=range(4)))

# %%
compare("first put on the accelerator, with so much memory", on_it, table_on_guess, unit="GB")

# %% [markdown]
# The embedding comes first, and gives way to the decoder as soon as that has room: what is read most wins. The table
# is the last, when everything else is there, and stays on the disk until then, although it is the largest and the disk
# the slowest. Nobody told the search that it is special; what a token reads of it did.
#
# Below: E2B on a phone. A phone has one memory: what is moved from "accelerator" to "RAM" stays where it is. Under the
# bars, the rows that a text has read. Then the same to move: keep images and sounds of E4B on the laptop, and see what
# the Pi can hold.

# %%
pieces = [(words.decode([id]), int(id) * copies) for id in ids[:60]]
figures.ple_inspector(ple_inspector.state("Gemma 3n E2B", trace=pieces, at=24))

# %%
gpu = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
has_own_memory = gpu is not None and gpu.type == "cuda"
PLEInspector(pieces, torch.cuda.mem_get_info()[1] if has_own_memory else 0)

# %% [markdown]
# If this machine has an accelerator, the mini moves there now, and its table stays behind. Its own memory counter
# tells what is left on it.

# %%
if gpu is None:
    print("torch knows of no accelerator here: nothing moves.")
else:
    counters = {"cuda": torch.cuda.memory_allocated, "mps": torch.mps.current_allocated_memory}
    count = counters.get(gpu.type)
    model.to(gpu)
    outputs = []
    for name, device in {"beside the model": gpu, "in RAM": "cpu"}.items():
        ple.place(model, ple.Held(stored, device))
        outputs.append(scores_of(prompt.to(gpu)))
        print(f"table {name}: {format_bytes(count()) if count else 'unknown'} on the accelerator")
    print("same bits:", torch.equal(*outputs))
    model.to("cpu")

# %% [markdown]
# ## What we found
#
# Each row: what was claimed, where, your number, and the verdict that follows from it. Nothing here is typed.

# %%
totals = {name: sum(parts.values()) for name, parts in counts.items()}
claims.verdict(
    "G10",
    {
        "e2b_parameters": totals[E2B.name],
        "e4b_parameters": totals[E4B.name],
        "e2b_effective_parameters": counts[E2B.name]["decoder"],
        "e4b_effective_parameters": counts[E4B.name]["decoder"],
    },
    beside={"e2b_read_for_a_token_parameters": sum(read[E2B.name].values())},
)

# %%
claims.verdict(
    "G11",
    {
        "e2b_bytes": first[0],
        "e4b_bytes": first[1],
        "e2b_accelerator_bytes": last[0],
        "e4b_accelerator_bytes": last[1],
    },
)

# %%
in_memory = {name: rest_bytes + (there or 0) for name, (_, _, there) in found.items()}
in_memory["in RAM"] = rest_bytes + stored.bytes
claims.verdict(
    "G12",
    {"ram_ratio": min(in_memory.values()) / rest_bytes},
    beside={"ram_ratio_of_a_table_in_ram": in_memory["in RAM"] / rest_bytes},
)

# %% [markdown]
# The second verdict has four rows: read the column *holds*. As the chapter's code loads it, neither number is reached;
# under the three conditions both are.
#
# The third: a table kept elsewhere costs little memory, and that is the best it can do. Nothing became smaller. What
# is saved is saved against the same table kept close, and on a phone, where RAM is all there is, only a table that
# stays on the storage saves anything.

# %%
model = source = wide = sources = None  # who maps a file lets go of it, or Windows keeps it
folder.cleanup()
print("removed:", not Path(folder.name).exists())

# %% [markdown]
# ## Limits and sources
#
# The blown-up table is several times as large as the rest of the mini, in E2B it is about as large: the ratio of a
# table in RAM is exaggerated. Its rows are 40 times shorter than E2B's. A dropped page may still be in a cache of the
# disk, or of the host of a virtual machine. Batches, and prompts read at once, ask for many rows together. How
# Google's own runtimes place the table, no source at hand says.
#
# Shapes: transformers 5.23 (modeling_gemma3n.py), Gemma 4 report (arXiv 2607.02770); counts: keras-hub presets.
# AltUp: arXiv 2301.13310; LAuReL: 2411.07501; MatFormer: 2310.07707. Claims: microsoft/edgeai-for-beginners @
# 05d7c7ef, Module02.
