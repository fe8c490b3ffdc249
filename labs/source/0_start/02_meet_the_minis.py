# %% [markdown]
# # 02 · Which of these tiny models would you trust with what?
#
# Seven language models come with this course. Each has about four million weights, a thousandth of a small model of
# today, and was taught by text that a program wrote. So you can know what none of its big relatives will tell you:
# everything that it was ever taught, and therefore what it cannot know.
#
# *In this lab* you cut a text into tokens, measure what a model expects, make it speak, and find where it ends:
# 75 minutes. Models: the minis, offline; a guest from a wheel or the hub is one argument away.

# %% [markdown]
# | term | symbol | unit or shape | Python name |
# |---|---|---|---|
# | token: a piece of text that has a number | | | `piece`, `id` |
# | number of different tokens | V | 2,048 here | |
# | ids of a text | | (T,) int64 | `ids` |
# | scores for the token that follows each place | | (T, V) float32 | `logits` |
# | probability of a token, given all before it | p | 0 to 1 | `probability` |
# | what the token costs: -log₂ p | | bit | `bits` |
# | greedy: always the token of the highest score | | | `greedy_answer` |
# | probability of a whole answer: 2 to the minus bits | | 0 to 1 | `confidence` |
# | held out: never said in training | | | `exams` |
# | share right, and where it may lie | | 95 % interval | `score.low`, `score.high` |

# %% tags=["parameters"]
MODE = "fast"
# MODE = "full" asks five times as many questions, and takes a few minutes
# GUEST: one more model for the widget: "smollm2-135m" works offline, "Qwen/Qwen3-0.6B" is of the hub
GUEST = None

# %% tags=["golden-setup"]
import itertools
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from IPython.display import HTML

from slmlab import bench, evaluation, figures, minis, models
from slmlab.evaluation import candidates, exams, generation, intervals, losses
from slmlab.exercises import answer, compare, exercise
from slmlab.ledger import html_table
from slmlab.minis import corpus, recipes, tokenizer
from slmlab.widgets import TalkToAMini, talk

# %%
if MODE == "fast":
    torch.set_num_threads(1)  # on models this small two threads gain little, and wait much
recipe = recipes.recipe("mini-phi")
untrained = recipes.new_model(recipe).eval()
words = tokenizer.load(recipe.family)
newborn = candidates.Candidate("mini-phi before its first step", recipe, untrained, words, "")
here = [name for name in minis.NAMES if name in models.at_hand()]
gallery = {name: candidates.load(name) for name in here} or {newborn.name: newborn}
first = next(iter(gallery.values()))
missing = [name for name in minis.NAMES if name not in here]
print("Not at hand:", ", ".join(missing) or "none", "(slmlab minis train NAME)" * bool(missing))
print(bench.machine())

# %% [markdown]
# What was each of them taught? The kinds of text, and how much of each, stand in its card, which came with its
# weights. *lesson, question, story*: facts of animals, places and materials. *sum*: with scratch work;
# *sum-direct*: the answer alone. *tool*: calls of functions. *parallel*: sentences in five languages. *needle*: a
# code to be found in a text.

# %%
rows = []
for name in here:
    card = minis.card(name)
    kinds = ", ".join(card["data"]["mixture"])
    how = "noisy" if card["data"]["noisy"] else "ternary" if card["training"]["ternary"] else ""
    weights = f"{card['parameters'] / 1e6:.1f} M"
    size = f"{card['files']['model.safetensors']['bytes'] / 1e6:.1f} MB"
    rows.append([name, card["class"], weights, size, f"{card['data']['tokens']:,}", kinds, how])
header = ["", "class", "weights", "file", "tokens read", "taught", ""]
HTML(html_table(header, rows, left=(0, 1, 5, 6)))


# %% [markdown]
# ## 1 · What does it read?
#
# Not letters, and not words. Before a model sees a text, a tokenizer cuts it into pieces of a fixed vocabulary. This
# one has 2,048: 28 that mark turns and the like, the 256 bytes, and the rest learnt from the minis' own text. A word
# that was frequent there is one piece, its space with it.
#
# %%
def pieces(text):
    return [words.decode([id]) for id in words.encode(text, add_special_tokens=False)]


japan = pieces("What is the capital of Japan?")
print(len(japan), "tokens:", " | ".join(japan))

# %% [markdown]
# Norway has as many letters as Sweden and is as well known, to you.
#
# **Predict.** How many tokens is *What is the capital of Norway?*

# %%
norway_tokens = answer("norway-tokens", default=7)  # your guess

# %%
countries = ("Japan", "Sweden", "Norway", "Zimbabwe")
cut = {country: pieces(f"What is the capital of {country}?") for country in countries}
print(*(" | ".join(found) for found in cut.values()), sep="\n")
counts = {country: len(found) for country, found in cut.items()}
compare("tokens of the question", counts, norway_tokens)

# %% [markdown]
# A vocabulary gives its training text away: a word in one piece was frequent there, a word in many pieces was rare or
# never came. You now have a guess at what the minis were not taught, and have read none of their documents. Section 4
# puts it to the test. The vocabularies of large models tell as much.
#
# **Write it.** The tokenizer's file holds 1,764 pairs, in the order in which they were learnt. A word starts as its
# letters. The slow way: look at all neighbours, join the pair that was learnt first, look again.


# %% tags=["exercise"]
@exercise("merge-pairs")
def merge_pairs(pieces: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """The pieces that are left of a word. About 10 lines.

    pieces: the word, cut into its smallest. ranks: pair of pieces -> its rank, 0 for the pair
    learnt first. As long as two neighbours are a pair of `ranks`, the pair of the lowest rank is
    joined wherever it stands, from left to right.
    """
    ### BEGIN SOLUTION
    pieces = list(pieces)
    while known := [pair for pair in itertools.pairwise(pieces) if pair in ranks]:
        best = min(known, key=ranks.get)
        place = 0
        while place < len(pieces) - 1:
            if (pieces[place], pieces[place + 1]) == best:
                pieces[place : place + 2] = ["".join(best)]
            place += 1
    return pieces
    ### END SOLUTION


# %%
merges = json.loads(tokenizer.FILE.read_text(encoding="utf-8"))["model"]["merges"]
ranks = {tuple(pair): rank for rank, pair in enumerate(merges)}
print(len(ranks), "pairs; the first ten:", *("".join(pair) for pair in merges[:10]))

questions = [fact.messages[0]["content"] for fact in corpus.exams.facts("new", 200, seed=2)]
spoken = sorted({word.strip("?.") for question in questions for word in question.split()})
mine = [merge_pairs(list(f"Ġ{word}"), ranks) for word in spoken]  # Ġ: how the file spells a space
theirs = [words.tokenize(f" {word}") for word in spoken]
differ = sum(a != b for a, b in zip(mine, theirs, strict=True))
print(f"{len(spoken)} words of exam questions: {differ} are cut otherwise by the library")

# %% [markdown]
# A question is not all that the model reads. A family wraps it in a template, tokens that say who speaks, and a mini
# was never asked without. Below, the whole prompt of each family for one question. Lab 12 is about what one wrong
# character in it costs.

# %% tags=["golden"]
QUESTION = "How many legs does a spider have?"
for family in tokenizer.FAMILIES:
    told = tokenizer.load(family)
    chat = [{"role": "user", "content": QUESTION}]
    prompt = told.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    ids = told.encode(prompt, add_special_tokens=False)
    own = len(told.encode(QUESTION, add_special_tokens=False))
    print(f"{family:7} {len(ids):3} tokens, {own} of them yours: {prompt!r}")

# %% [markdown]
# ## 2 · What does it expect?
#
# A language model has one skill: for every place in a text it gives each of the V tokens a probability for being the
# next. A token of probability p costs -log₂ p bits: 0 if it was certain, 1 if it was a coin. To a model that knows
# nothing all 2,048 are alike, and every token costs log₂ 2048 = 11 bits.
#
# **Predict.** *A spider has eight legs.* How many bits does the whole answer cost the first mini of your gallery, the
# token that ends it among them?

# %%
eight_bits = answer("eight-legs-bits", default=20.0)  # bits, your guess

# %% [markdown]
# **Write it.** The answer's bits, but not the question's: those are given. Two traps. The scores *for* a place stand
# one row above it. And exp of a large score is infinite; only differences of scores count.


# %% tags=["exercise"]
@exercise("answer-bits")
def answer_bits(logits: np.ndarray, ids: np.ndarray, start: int) -> float:
    """Bits that a model needs for ids[start:], given all before each of them. About 5 lines.

    logits: (T, V) float32, row t holds the scores of the id at place t + 1. ids: (T,) int64.
    1 <= start < T. A token of probability p takes -log2(p) bits.
    """
    ### BEGIN SOLUTION
    scores = logits[start - 1 : -1].astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return float(-log_p[np.arange(len(scores)), ids[start:]].sum() / np.log(2))
    ### END SOLUTION


# %%
def cost(model, tokenizer, question, said):
    """Bits of an answer to a question, the token that ends it among them."""
    prompt = talk.prompt(tokenizer, question)
    start = len(tokenizer.encode(prompt, add_special_tokens=False))
    ids = tokenizer.encode(prompt + said + tokenizer.eos_token, add_special_tokens=False)
    with torch.inference_mode():
        logits = model(torch.tensor([ids]), use_cache=False).logits[0]
    return answer_bits(logits.numpy(), np.array(ids), start)


EIGHT, SIX = "A spider has eight legs.", "A spider has six legs."
bits = {
    f"{first.name}: eight legs": cost(first.model, first.words, QUESTION, EIGHT),
    f"{first.name}: six legs": cost(first.model, first.words, QUESTION, SIX),
    "before the first step: eight legs": cost(newborn.model, newborn.words, QUESTION, EIGHT),
    "all tokens alike": (len(pieces(EIGHT)) + 1) * np.log2(2048),
}
compare("bits of the whole answer", bits, eight_bits, unit="bits")

# %% [markdown]
# If the second bar is longer than the first, a wrong answer surprises the mini more than the right one. Where does the
# surprise sit? Below, the wrong answer is put into its mouth. Each token stands with its probability; the darker, the
# less expected. The bars are what it would rather have had in the framed place.

# %%
text = talk.read(first.name, first.model, first.words, QUESTION, SIX)
figures.talk(talk.state(text))

# %% [markdown]
# ## 3 · What does it say?
#
# To speak is to expect, and to believe one's own expectation: take the likeliest token, put it behind the text, ask
# again.
#
# **Write it.** The whole of it, for any model.


# %% tags=["exercise"]
@exercise("greedy-answer")
def greedy_answer(next_scores: Callable, ids: list[int], stop: list[int], limit: int) -> list[int]:
    """What a model says to the prompt `ids`: always the highest score. About 7 lines.

    next_scores(ids) gives the (V,) scores of the token that follows; of equal ones the first
    counts. The answer ends before the first id of `stop`, or with `limit` tokens; the prompt is
    not part of it.
    """
    ### BEGIN SOLUTION
    said = []
    while len(said) < limit:
        best = int(np.argmax(next_scores(ids + said)))
        if best in stop:
            break
        said.append(best)
    return said
    ### END SOLUTION


# %%
def say(mini, question, thinking=None, limit=96):
    """The mini's answer as text. thinking: wanted (True), ruled out (False), or as it likes."""

    def next_scores(ids):
        with torch.inference_mode():
            return mini.model(torch.tensor([ids]), use_cache=False).logits[0, -1].numpy()

    prompt = talk.prompt(mini.words, question, thinking)
    ids = mini.words.encode(prompt, add_special_tokens=False)
    return mini.words.decode(greedy_answer(next_scores, ids, tokenizer.stop_ids(mini.words), limit))


# %% [markdown]
# One question of each trade, to all of them. One of the seven minis was taught all four.
#
# **Predict.** How many of the answers in the table below are right, in percent of all?

# %%
right_percent = answer("table-right-percent", default=50.0)  # your guess

# %%
trades = {
    "What is the capital of Japan?": "The capital of Japan is Tokyo.",
    "Why is steel used for bridges?": "Steel is used for bridges because steel is strong.",
    "What is 47+38?": "85",
    'How do you say "The lamp is red." in German?': "Die Lampe ist rot.",
}
said = {name: [exams.spoken(say(mini, question)) for question in trades] for name, mini in gallery.items()}
rows = [[name, *(text[:80] for text in texts)] for name, texts in said.items()]
HTML(html_table(["", *trades], rows, left=range(5)))

# %%
wanted = list(trades.values()) * len(said)
right = np.array([text for texts in said.values() for text in texts]) == wanted
shown = {"sign by sign": 100 * right.mean()}
compare("answers of the table that are right", shown, right_percent, unit="%")

# %% [markdown]
# Compare each row with the column *taught* of the first table. What a mini was not taught it does not refuse: it has
# no words for *I do not know*, since no document ever said that. It says what is likeliest. Two rows to read twice:
# mini-phi-noisy was taught by the same program, with mistakes added; mini-bitnet has weights of three values.
#
# Some were also taught to write before they answer. The same sum, without and with thinking:

# %%
SUM = "What is 47+38-21?"
thinkers = [mini for mini in gallery.values() if "sum-direct" in mini.recipe.mixture]
for mini in thinkers:
    for thinking in (False, True):
        print(f"{mini.name}, {'thinking' if thinking else 'at once'}:\n{say(mini, SUM, thinking)}\n")
if not thinkers:
    print("mini-qwen is not at hand.")

# %% [markdown]
# Now you. The picture is what the first mini says to the question of section 2. The tool under it asks any mini
# anything, and one that was never trained. Move *token* with the arrow keys, or click on a token, and read what else
# might have stood there. Find an answer that is wrong although all its tokens are pale.

# %%
text = talk.ask(first.name, first.model, first.words, QUESTION)
figures.talk(talk.state(text))

# %%
talkers = {mini.name: (mini.model, mini.words) for mini in (*gallery.values(), newborn)}
if GUEST:
    talkers[GUEST] = tuple(models.load(GUEST, "float32"))
more = ["What is the capital of Norway?", "Compare the spider and the ant.", "Who are you?"]
TalkToAMini(talkers, [QUESTION, SUM, *trades, *more])

# %% [markdown]
# ## 4 · Where does it end?
#
# A few answers are anecdotes. An exam is a few dozen questions that training never said: for facts, the fact was
# taught and the wording was taught, but never together; for sums, the sum never occurred. An answer counts when it
# is right sign by sign.
#
# **Predict.** Which share of the facts does the first mini get right?

# %%
facts_share = answer("facts-share", default=0.7)  # your guess, between 0 and 1

# %%
COUNT = 40 if MODE == "fast" else 200
papers = {  # exam: what a mini must have been taught to sit it, and the questions
    "facts": ("question", corpus.exams.facts("new", COUNT, seed=2)),
    "calls of functions": ("tool", corpus.exams.tool_calls(COUNT, seed=2)),
    "sums, 2 terms": ("sum", corpus.exams.sums(2, True, COUNT, seed=2)),
    "sums, 4 terms": ("sum", corpus.exams.sums(4, True, COUNT, seed=2)),
    "sums, 6 terms": ("sum", corpus.exams.sums(6, True, COUNT, seed=2)),
    "into German": ("parallel", corpus.exams.languages("de", COUNT, seed=2)),
    "a code, 10 words back": ("needle", corpus.exams.needles(10, COUNT, seed=2)),
    "a code, 100 words back": ("needle", corpus.exams.needles(100, COUNT, seed=2)),
}
judges = {"tool": exams.calls_rightly}  # a call may have its arguments in any order
sheets = {
    (name, what): exams.sit(mini.respond, documents, judges.get(kind, exams.says))
    for name, mini in gallery.items()
    for what, (kind, documents) in papers.items()
    if kind in mini.recipe.mixture
}
facts = {name: sheet.score.value for (name, what), sheet in sheets.items() if what == "facts"}
compare("facts in new wordings, share right", facts, facts_share)

# %% [markdown]
# Nobody taught a mini a sum of more than four terms. The scratch work of six goes on as that of four does.
#
# **Predict.** Which share of the sums of six terms comes out right, thinking?

# %%
long_share = answer("six-terms-share", default=0.5)  # your guess, between 0 and 1

# %%
scores = {f"{name}, {what}": sheet.score.value for (name, what), sheet in sheets.items()}
sums = {name: score for name, score in scores.items() if "sums" in name}
nobody = "No mini that was taught sums is at hand: mini-qwen, mini-qwen-moe."
compare("sums, share right", sums, long_share) if sums else print(nobody)

# %%
rows = []
for (name, what), sheet in sheets.items():
    score, count = sheet.score, f"{sum(sheet.right)} of {len(sheet.right)}"
    row = [name, what, count, f"{score.low:.2f} to {score.high:.2f}", "", ""]
    if False in sheet.right:  # the end of the first wrong answer, and of the right one
        place = sheet.right.index(False)
        row[4:] = exams.spoken(sheet.answers[place])[-40:], sheet.documents[place].answer[-40:]
    rows.append(row)
header = ["", "exam", "right", "95 % interval", "a wrong answer ends", "wanted"]
HTML(html_table(header, rows, left=(0, 1, 4, 5)))

# %% [markdown]
# Read the intervals before the counts. They are Wilson's: where in truth the share may lie, if these questions are a
# draw from all such questions. Two rows whose intervals overlap widely are not ranked by this exam, whatever their
# counts; and 40 right of 40 still admits a truth of about nine in ten.
#
# Now ask for what nobody taught: capitals of countries that occur in no document.
#
# **Predict.** How sure is the first mini of what it says then? (Probability of its whole answer, the mean of 12.)

# %%
unknown_sure = answer("untaught-confidence", default=0.2)  # your guess, between 0 and 1

# %%
untaught = ("Norway", "Poland", "Iceland", "India", "Turkey", "Chile")
untaught += ("Ireland", "Finland", "Austria", "Mexico", "Thailand", "Australia")
told = [str(document) for document in itertools.islice(corpus.documents(first.recipe.mixture, 0), 3000)]
mentions = sum(name in text for text in told for name in untaught)
print(f"{len(told):,} documents that {first.name} learnt from mention them {mentions} times.")

known = corpus.exams.facts("new", 36, seed=3)
chats = [({"role": "user", "content": f"What is the capital of {name}?"},) for name in untaught]
unknown = [replace(known[0], messages=chat, answer="") for chat in chats]


def answers(mini, documents):
    """(text, confidence, whether it is right) of what the mini says to each.

    respond() is your greedy_answer for many prompts at once; cost() runs on your answer_bits.
    """
    found = []
    for document, text in zip(documents, mini.respond(documents), strict=True):
        bits = cost(mini.model, mini.words, document.messages[0]["content"], text)
        found.append((text, 2**-bits, text == document.answer))
    return found


# %%
recalled, invented = answers(first, known), answers(first, unknown)
for text, sure, _ in sorted(invented, key=lambda found: -found[1])[:4]:
    print(f"{sure:.2f}  {text}")
means = {
    "facts that were taught": np.mean([sure for _, sure, _ in recalled]),
    "capitals that were not": np.mean([sure for _, sure, _ in invented]),
}
compare(f"how sure {first.name} is of what it says", means, unknown_sure)

# %% [markdown]
# If the bars differ, the model's own probabilities know something about what it does not know, and you can use that:
# let it answer where it is sure, and send the rest to somebody else.
#
# **Write it.** How much of the work can it keep, if a given share of its answers is to be right? The slow way tries
# every confidence as the threshold. Equal confidences stay together: a threshold cannot tell them apart.


# %% tags=["exercise"]
@exercise("trusted-share")
def trusted_share(confidences: list[float], right: list[bool], wanted: float) -> float:
    """The largest share of the questions that may be answered. About 6 lines.

    wanted: so large a share of these answers is to be right. A threshold decides: every question
    whose confidence reaches it is answered, all others are not. 0.0 where no threshold does.
    """
    ### BEGIN SOLUTION
    best = 0.0
    for threshold in confidences:
        answered = [was for sure, was in zip(confidences, right, strict=True) if sure >= threshold]
        if sum(answered) / len(answered) >= wanted:
            best = max(best, len(answered) / len(confidences))
    return best
    ### END SOLUTION


# %% [markdown]
# A quarter of the questions below are about capitals that nobody taught. What is left to a mini that must be right
# in 95 of 100 answers?
#
# **Predict.** The share of the questions that the first mini may answer.

# %%
kept_guess = answer("kept-at-95", default=0.75)  # your guess, between 0 and 1


# %%
shares = {}
for name in facts:
    found = answers(gallery[name], known + unknown)
    confidences, right = [sure for _, sure, _ in found], [was_right for _, _, was_right in found]
    shares[name] = trusted_share(confidences, right, 0.95)
compare("share of the questions it may answer, 95 % right", shares, kept_guess)

# %% [markdown]
# Three quarters of the questions can be answered at all; a bar beyond 0.75 has used the five slips in a hundred that
# were allowed. What is missing to 0.75 is what confidence could not tell from an invention. The threshold was chosen
# on the very questions that it is judged by, which flatters it: before you rely on one, try it on others.
#
# And the question of the title. You decide what trust means: below which share right would you not use it?

# %%
trust_from = answer("trust-from", default=0.8)  # your bar, between 0 and 1


# %%
def judged(name, what):
    if (name, what) not in sheets:
        return "not taught"
    score = sheets[name, what].score
    verdict = "not shown"
    if score.low >= trust_from:
        verdict = "trust"
    elif score.high < trust_from:
        verdict = "do not"
    return f"{verdict} ({score.low:.2f} to {score.high:.2f})"


rows = [[name, *(judged(name, what) for what in papers)] for name in gallery]
HTML(html_table(["", *papers], rows, left=range(1 + len(papers))))

# %% [markdown]
# *Trust* needs the whole interval above your bar, *do not* the whole below; *not shown* means that this exam was too
# short to say. `MODE = "full"` asks five times as much.

# %% [markdown]
# ## What we found
#
# The claims are the minis' own: what their cards say, which came with the weights. Nothing here is typed.
#
# First the loss. Yours is of other held-out documents than the card's 64 of a kind, so the two may differ by chance.
# The claim holds if they differ by no more than chance does in 95 of 100 cases, supposing that the card's documents
# scatter as yours do. One true claim in twenty fails then.

# %%
claimed = []  # rows: mini, claim, as claimed, yours, may differ by, verdict


def held_to(name, claim, theirs, yours, margin, holds):
    claimed.append([name, claim, theirs, yours, margin, "holds here" if holds else "does not hold here"])


for name in here:
    mini = gallery[name]
    kind = max(mini.recipe.mixture, key=mini.recipe.mixture.get)
    documents = corpus.exams.held_out(kind, COUNT, seed=2)
    loss = losses.per_token(losses.costs(mini.model, mini.encode(documents)))
    stated = minis.card(name)["held_out_loss"][kind]
    margin = (loss.high - loss.value) * (1 + COUNT / 64) ** 0.5
    what = f"nats a token of a held-out {kind}"
    holds = abs(stated - loss.value) <= margin
    held_to(name, what, f"{stated:.3f}", f"{loss.value:.3f}", f"{margin:.3f}", holds)

# %% [markdown]
# Then words: the shortest sample that a card shows, asked for again. Last, where the package holds an evaluation of
# these very weights, its share of facts beside yours.

# %%
for name in here:
    mini = gallery[name]
    sample = min(minis.card(name)["samples"], key=lambda sample: len(sample["text"]))
    ids = mini.words.encode(sample["prompt"], add_special_tokens=False)
    limit, stop = sample["max_new_tokens"], tokenizer.stop_ids(mini.words)
    (again,) = generation.greedy(mini.model, [ids], limit, stop)
    text = mini.words.decode(again, skip_special_tokens=True)
    what, same = f"says to a {sample['kind']}", text == sample["text"]
    held_to(name, what, repr(sample["text"][:40]), repr(text[:40]), "", same)

stored = evaluation.recorded()
for row in stored.rows:
    if row.claim != "facts-new-wording" or row.model not in facts:
        continue
    if stored.weights_sha256[row.model] == gallery[row.model].weights_sha256:
        score = sheets[row.model, "facts"].score
        theirs = intervals.Estimate(row.value, row.low, row.high, row.count)
        gap = intervals.difference(score, theirs)
        margin = f"{gap.low - gap.value:+.2f} {gap.high - gap.value:+.2f}"
        holds = gap.low <= 0 <= gap.high
        held_to(row.model, row.what, f"{row.value:.2f}", f"{score.value:.2f}", margin, holds)

# %%
header = ["", "claim", "its card", "yours", "may differ by", "verdict"]
HTML(html_table(header, sorted(claimed, key=lambda row: row[0]), left=(0, 1, 2, 3, 5)))

# %% [markdown]
# ## Limits and sources
#
# The minis know one small world, so nothing here says how well a larger model of the family does anything. What
# carries over is the method: bits instead of impressions, exams with intervals, a threshold on confidence. Sign by
# sign is a hard mark: an answer that is right in other words counts as wrong. Greedy is one way to speak; lab 13
# draws. The probability of a whole answer falls with its length, and wordings of one meaning share it.
#
# Byte-pair encoding of text: Sennrich, Haddow, Birch, arXiv 1508.07909. Wilson's interval: JASA 22 (1927) 209.
# Answering only where one is sure: El-Yaniv, Wiener, JMLR 11 (2010) 1605. Confidence of networks: arXiv 1706.04599.
