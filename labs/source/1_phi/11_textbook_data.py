# %% [markdown]
# # 11 · Does clean data beat more data?
#
# Phi's makers say that small models learn best from text of textbook quality. Everybody nods: garbage in, garbage out.
# So take one text twice, clean and as the web might have it, train on as many tokens of each, and measure what the
# garbage did. Some did nothing, some can never be mended, and on one exam the model raised on garbage wins by far.
#
# *In this lab* you race two trainings at equal tokens, find what noise takes and what it gives, put error bars on
# seeds, and search an exam in its training text: 90 minutes. Models: mini-phi, mini-phi-noisy, small ones trained here.

# %% [markdown]
# | term | unit or shape | Python name |
# |---|---|---|
# | clean text: lessons, questions, stories, all true | documents | `corpus.documents` |
# | noisy text: the same through a bad web | documents | `corpus.noisy` |
# | telling: one place where a text gives a fact a value | (fact, value) | `tellings` |
# | own loss: of the text that a model trains on | nats a token | `run.losses` |
# | held-out loss: of text that no training says | nats a token | `look.nats` |
# | exam: facts, asked in wordings that training never joined to them | questions | `corpus.exams.facts` |
# | share right, and where it may lie | 95 % interval | `low`, `high` |
# | seed: draws the text and the first weights | | `recipe.seed` |
# | n-gram: n words in a row | | `ngrams` |

# %% tags=["parameters"]
MODE = "fast"
# MODE = "full" races five times as far and with six seeds: about four minutes
CLEAN, NOISY = "mini-phi", "mini-phi-noisy"  # of one recipe: 4 million tokens each, clean and noisy

# %%
import math
import random
import re
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from IPython.display import HTML, clear_output, display

from slmlab import bench, catalog, claims, figures
from slmlab.evaluation import candidates, exams, intervals, losses, racing
from slmlab.exercises import answer, compare, exercise, textbook
from slmlab.ledger import html_table
from slmlab.minis import corpus, tokenizer, training
from slmlab.minis.corpus import facts, noise, wordings
from slmlab.widgets import TrainingRace, training_race
from slmlab.widgets.think_budget import Curve

# %%
if MODE == "fast":
    torch.set_num_threads(1)  # on models this small two threads gain little, and wait much
FULL = MODE == "full"
tutored, webbed = candidates.load(CLEAN), candidates.load(NOISY)
minis = {"clean": tutored, "noisy": webbed}
words = tutored.words


def told(estimate, sign=""):
    """A number with its interval."""
    return f"{estimate.value:{sign}.2f} ({estimate.low:{sign}.2f} to {estimate.high:{sign}.2f})"


print(bench.machine())

# %% [markdown]
# ## 1 · How much is the same?
#
# The corpus of this course is made by a program, so all of it is known. Below, what its bad web does to some documents:
# it swaps facts, shuffles words, mistypes, and puts in lines that have nothing to do with anything.


# %%
def noisily(documents, seed=0):
    """Each document as the bad web has it."""
    return [corpus.noisy(document, random.Random(f"{seed}/noise/{n}")) for n, document in enumerate(documents)]


questions_only = {"question": 1.0}
clean_documents = list(islice(corpus.documents(questions_only, seed=0), 2000))
noisy_documents = noisily(clean_documents)
touched = [a != b for a, b in zip(clean_documents, noisy_documents, strict=True)]
rows = [
    [" / ".join(a.passages), " / ".join(b.passages)]
    for a, b, changed in zip(clean_documents, noisy_documents, touched, strict=True)
    if changed and len(" ".join(a.passages)) < 90
]
print(f"{np.mean(touched):.0%} of the documents are touched")
HTML(html_table(["clean", "noisy"], rows[:6], left=(0, 1)))

# %% [markdown]
# A fair race is one at equal tokens: tokens are what is read and paid for. So count them.
#
# **Predict.** Equally many documents: how many tokens has the noisy text for each token of the clean one?

# %%
token_ratio = answer("noisy-tokens", default=1.0)  # your guess

# %%
clean_tokens, noisy_tokens = (
    [len(tokenizer.encode(document, words)) for document in documents]
    for documents in (clean_documents, noisy_documents)
)
clean_letters, noisy_letters = (
    sum(len(passage) for document in documents for passage in document.passages)
    for documents in (clean_documents, noisy_documents)
)
ratios = {"letters": noisy_letters / clean_letters, "tokens": sum(noisy_tokens) / sum(clean_tokens)}
compare("noisy over clean, for as many documents", ratios, token_ratio)

# %%
for text in ("What is the capital of Japan?", "Waht is the caiptal of Jaapn?"):
    print(words.convert_ids_to_tokens(words.encode(text)))

# %% [markdown]
# A mistyped word falls into crumbs. At equal documents the noisy model would read more tokens, at equal tokens it sees
# fewer documents; whoever compares two corpora by pages has compared something else.
#
# **Write it.** Documents stay whole and come in their order. The slow way tries every pair of numbers of documents and
# adds up. (The running sums of both, and one comparison, will do.)


# %% tags=["exercise"]
@exercise("equal-tokens")
def equal_tokens(first: list[int], second: list[int], slack: int) -> tuple[int, int]:
    """How many documents to take of two corpora, from the start, for equally many tokens. About 6 lines.

    first, second: the tokens of each document, at least 1. Of all pairs (i, j) for which the first i
    documents of one and the first j of the other differ by at most `slack` tokens, the one with
    the most tokens together.
    """
    ### BEGIN SOLUTION
    a, b = (np.cumsum([0, *lengths]) for lengths in (first, second))
    near = np.abs(a[:, None] - b) <= slack
    _, i, j = max((a[i] + b[j], i, j) for i, j in np.argwhere(near))
    return int(i), int(j)
    ### END SOLUTION


# %%
i, j = equal_tokens(clean_tokens, noisy_tokens, slack=3)
print(f"clean: {i} documents, {sum(clean_tokens[:i]):,} tokens")
print(f"noisy: {j} documents, {sum(noisy_tokens[:j]):,} tokens")

# %% [markdown]
# ## 2 · What does the loss say?
#
# Two models of 0.4 million weights, the same at the first step, take turns: a step for *clean*, a step for *noisy*, so
# that both have always read as many tokens. Training packs documents into sequences of equal length, which is your
# exercise with no slack left.
#
# The noisy one's own loss will be the higher one at the end: its text has more in it that nobody can guess. But both
# are also held to the same clean text, which neither has seen.
#
# **Predict.** Which share of the gap in their own losses is left on the clean text?

# %%
gap_left = answer("gap-left", default=0.8)  # your guess; 1: all of it

# %%
STEPS = 2000 if FULL else 400
shape = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 1, "num_attention_heads": 4}
small = replace(
    tutored.recipe,
    name="small",
    config=tutored.recipe.config | shape,
    mixture=questions_only,
    sequence=96,
    batch=4,
    tokens=STEPS * 4 * 96,
    learning_rate=6e-3,
)


def trainings(recipe):
    """The same training twice: on clean text, and on noisy."""
    return {
        name: training.Training(replace(recipe, name=name, noisy=name == "noisy"), Path("no checkpoint"))
        for name in ("clean", "noisy")
    }


# %%
held_out = corpus.exams.held_out("question", 80, seed=1)
texts = {"clean text": held_out, "noisy text": noisily(held_out, seed=1)}
one_a_fact = {question.answer: question for question in corpus.exams.facts("new", 400, seed=2)}
questions = list(one_a_fact.values())
exam = questions[:60]
race = racing.Race(trainings(small), racing.Onlooker(texts, exam), every=STEPS // 4)
print(f"{sum(p.numel() for p in race.runners['clean'].model.parameters()):,} weights")

# %% [markdown]
# The next cell trains, and draws now and then. *Kernel, Interrupt* stops it and keeps what was learnt; run the cell
# again, and it goes on. Lines are own losses. Marks are the held-out loss, with 95 % intervals over documents.

# %%
try:
    for step in race.turns_left():
        if step % (STEPS // 20) == 0:
            clear_output(wait=True)
            display(figures.training_race(training_race.state(race)))
except KeyboardInterrupt:
    pass
clear_output(wait=True)
print(f"{race.step} of {race.steps} steps: what follows is of that.")
figures.training_race(training_race.state(race))

# %%
last = race.laps[-1].looks
own = {name: float(np.mean(run.losses[-20:])) for name, run in race.runners.items()}
rows = [
    [name, f"{own[name]:.3f}", *(f"{nats.value:.3f}" for nats in look.nats.values()), f"{look.sheet.score.value:.2f}"]
    for name, look in last.items()
]
HTML(html_table(["trained on", "own loss", *(f"held to {name}" for name in texts), "facts right"], rows))

# %%
own_gap = own["noisy"] - own["clean"]
clean_gap = last["noisy"].nats["clean text"].value - last["clean"].nats["clean text"].value
compare("share of the own losses' gap", {"left on clean text": clean_gap / own_gap}, gap_left)

# %% [markdown]
# Most of a noisy text's loss is of the text, not of the model: which letters are mistyped, which line comes from
# nowhere. Two training curves on two texts say nothing of who learnt more. (It is why makers of data sets train on each
# of them and test on a third.)
#
# Now read the table across. On clean text the noisy model is a little behind. On noisy text the clean one is a ruin: it
# has never seen a slip, and is sure that there are none. Which of the two texts is like the place where your model will
# work? Section 3 asks.

# %% [markdown]
# Below, the same race on a longer course: four times the steps, and you are the judge. *go on* trains in the
# background and *pause* keeps everything; the menu chooses a question, the slider looks back. Watch one question: does
# the noisy model come to its answer later, or to another one? A static picture first, of the race above.

# %%
figures.training_race(training_race.state(race, lap=2))

# %%
longer = replace(small, tokens=4 * small.tokens, seed=1)
long_race = racing.Race(trainings(longer), racing.Onlooker(texts, exam), every=5)
for _ in islice(long_race.turns_left(), 5):
    pass
long_race.every = 100
TrainingRace(long_race)

# %% [markdown]
# ## 3 · What does noise take, and what does it give?
#
# Short races cannot show all that is learnt. So from here on the two that ship: mini-phi and mini-phi-noisy, one
# recipe, ten times the weights of those above, 4 million tokens each.
#
# In noisy text each fact has one wrong value that is told of it, and a share of its own, 0 to 80 %, in which that is
# told. The mean is 40 %.
#
# **Predict.** Of facts that are told wrong three times in ten: which share does mini-phi-noisy answer rightly?

# %%
at_thirty = answer("told-wrong-3-in-10", default=0.7)  # your guess, between 0 and 1

# %%
fact_of = {fact.answer: fact for fact in facts.FACTS}
big_exam = corpus.exams.facts("new", 400, seed=11)  # all there are
wrong_shares = np.array([noise.mistake(fact_of[document.answer])[1] for document in big_exam])
sheets = {name: exams.sit(mini.respond, big_exam, exams.says) for name, mini in minis.items()}


def by_wrong_share(name, sheet):
    """Share right among facts that are told wrong about as often: eight groups."""
    edges = np.linspace(0, 0.8, 9)
    groups = [sheet.where((wrong_shares >= a) & (wrong_shares < a + 0.1)).score for a in edges[:-1]]
    columns = ([getattr(group, part) for group in groups] for part in ("value", "low", "high"))
    return Curve(name, tuple(edges[:-1] + 0.05), *map(tuple, columns), len(sheet.right))


curves = [by_wrong_share(name, sheet) for name, sheet in sheets.items()]
figures.accuracy(curves, "Facts right, by how often training told them wrong", "share of tellings that are wrong")

# %%
near_thirty = (wrong_shares > 0.25) & (wrong_shares < 0.35)
found = {
    f"told wrong {share}": sheets["noisy"].where(which).score.value
    for share, which in (
        ("3 times in 10", near_thirty),
        ("7 times in 10", wrong_shares > 0.65),
        ("as a whole", wrong_shares >= 0),
    )
}
compare("mini-phi-noisy: share right", found, at_thirty)

# %% [markdown]
# No even slope: flat, then a fall around one half. A model that says its likeliest token takes a vote among all
# tellings, and a vote of seven to three is as good as one of ten to none. Errors that are in the minority cost next to
# nothing; those in the majority cost everything. So *40 % of it is wrong* does not say what is lost. What says it is
# how many facts have the majority against them.
#
# **Write it.** The best that any reader can do with a text: count the tellings of each fact. The slow way goes through
# them one by one.


# %% tags=["exercise"]
@exercise("best-reader")
def best_reader(tellings: list[tuple[str, str]], truths: dict[str, str]) -> tuple[float, float]:
    """(share of facts right, nats a telling) of a reader who knows a text by heart. About 8 lines.

    tellings: (fact, value) in the order of the text; truths: the true value of each fact. The reader
    says the value told most often, of equals the one told first; a fact never told is not right.
    The share is over truths. Reading once more, a telling costs -log of the share that its value
    has among the tellings of its fact; nats a telling: the mean over tellings.
    """
    ### BEGIN SOLUTION
    counts = {fact: Counter() for fact in truths}
    for fact, value in tellings:
        counts[fact][value] += 1
    right = [bool(values) and values.most_common(1)[0][0] == truths[fact] for fact, values in counts.items()]
    nats = [-math.log(counts[fact][value] / counts[fact].total()) for fact, value in tellings]
    return sum(right) / len(truths), sum(nats) / len(nats)
    ### END SOLUTION


# %%
sentences = {}  # as answers say a fact, with its true value and with its mistake
for fact in facts.FACTS:
    for value in (fact.value, noise.mistake(fact)[0]):
        sentences[fact.say(wordings.ANSWERS[fact.relation], value)] = (f"{fact.subject}, {fact.relation}", value)
truths = {f"{fact.subject}, {fact.relation}": fact.value for fact in facts.FACTS}


def tellings_of(documents):
    said = [
        match.group().strip()
        for document in documents
        for match in noise.SENTENCE.finditer(" ".join(document.passages))
    ]
    return [sentences[sentence] for sentence in said if sentence in sentences]


more = list(islice(corpus.documents(questions_only, seed=0), 6000))
readers = {"clean": best_reader(tellings_of(more), truths), "noisy": best_reader(tellings_of(noisily(more)), truths)}
for name, (share, nats) in readers.items():
    print(f"{name}: best reader {share:.2f} right, {nats:.3f} nats a telling; the mini {told(sheets[name].score)}")

# %% [markdown]
# mini-phi-noisy is no bad pupil: it is the best reader there can be of what it was given. And the second number is a
# floor: so many nats a telling no training will ever remove, for they are coins that the text tossed.
#
# Facts were hurt. And grammar? Take pairs of texts of which one is right and one is not, and see which costs fewer
# nats: two words of a sentence in the wrong order, a verb in the wrong form, a fact with its mistake.
#
# **Predict.** Wrong verbs: by how much is mini-phi-noisy worse than mini-phi, in shares of pairs?

# %%
verb_loss = answer("verbs-worse", default=0.15)  # your guess; 0.1: ten pairs of a hundred

# %%
VERBS = {"has": "have", "is": "are", "lives": "live", "eats": "eat", "was": "were", "were": "was", "had": "has"}
chance = random.Random(3)


def with_a_wrong_verb(text):
    verb = chance.choice(list(re.finditer(rf"\b({'|'.join(VERBS)})\b", text)))
    return text[: verb.start()] + VERBS[verb.group()] + text[verb.end() :]


def with_words_swapped(text):
    own = text.split(" ")
    places = [n for n in range(len(own) - 1) if own[n] != own[n + 1] and (own[n] + own[n + 1]).islower()]
    n = chance.choice([n for n in places if own[n].isalpha() and own[n + 1].isalpha()])
    return " ".join([*own[:n], own[n + 1], own[n], *own[n + 2 :]])


# %%
PAIRS = 100 if FULL else 30
spoken = [document for kind in ("lesson", "story") for document in corpus.exams.held_out(kind, PAIRS, seed=3)]
spoken = [document for document in spoken if re.search(rf"\b({'|'.join(VERBS)})\b", document.text)]
answered = big_exam if FULL else big_exam[:200]


def with_its_mistake(document):
    fact = fact_of[document.answer]
    return replace(document, answer=fact.say(wordings.ANSWERS[fact.relation], noise.mistake(fact)[0]))


def nats_of(mini, documents):
    """What each text costs; of a question what its answer costs."""
    whole = documents[0].text != ""
    sequences = (mini.encode(documents),) if whole else mini.encode_answered(documents)
    return [cost.nats for cost in losses.costs(mini.model, *sequences)]


spoiled = {
    "word order": [replace(document, text=with_words_swapped(document.text)) for document in spoken],
    "verbs": [replace(document, text=with_a_wrong_verb(document.text)) for document in spoken],
    "facts": [with_its_mistake(document) for document in answered],
}

# %%
preferred = {}
for name, mini in minis.items():
    right_costs = {"facts": nats_of(mini, answered)} | dict.fromkeys(("word order", "verbs"), nats_of(mini, spoken))
    for kind, wrong in spoiled.items():
        better = np.less(right_costs[kind], nats_of(mini, wrong))
        preferred[kind, name] = intervals.share(int(better.sum()), len(better))
rows = []
for kind in spoiled:
    worse = intervals.difference(preferred[kind, "clean"], preferred[kind, "noisy"])
    both = [f"{preferred[kind, name].value:.2f}" for name in minis]
    rows.append([kind, str(worse.count), *both, told(worse, "+")])
HTML(html_table(["pairs", "how many", "mini-phi", "mini-phi-noisy", "worse by (95 %)"], rows))

# %%
worse_by = {kind: preferred[kind, "clean"].value - preferred[kind, "noisy"].value for kind in spoiled}
compare("mini-phi-noisy is worse by, in shares of pairs", worse_by, verb_loss)

# %% [markdown]
# Where an interval contains 0, these pairs show no harm at all; where the bar points to the left, none either. A rule
# is told in every sentence, so a slip is always outvoted. A fact is told in a few sentences, and can be outvoted
# itself. Noise is not an amount: it is a vote, and what matters is who is in the majority.
#
# So far all exams were clean. Ask the same questions again, and behind each of them put the line *Click here to read
# more.*
#
# **Predict.** mini-phi answered all or nearly all of them rightly. Which share now?

# %%
with_a_line = answer("click-here", default=0.9)  # your guess, between 0 and 1

# %%
LINE = noise.BOILERPLATE[0]


def asked_with(line, document):
    *before, row = document.messages
    return replace(document, messages=(*before, row | {"content": f"{row['content']} {line}"}))


few = big_exam if FULL else big_exam[:100]
on_the_web = [asked_with(LINE, document) for document in few]
web_sheets = {name: exams.sit(mini.respond, on_the_web, exams.says) for name, mini in minis.items()}
shares = {}
for name, mini in minis.items():
    shares[f"{mini.name}, asked plainly"] = float(np.mean(sheets[name].right[: len(few)]))
    shares[f"{mini.name}, with the line"] = web_sheets[name].score.value
compare("share right", shares, with_a_line)

# %%
places = [n for n, right in enumerate(web_sheets["clean"].right) if not right][:4]
rows = [[on_the_web[n].messages[-1]["content"], *(web_sheets[name].answers[n] for name in minis)] for n in places]
HTML(html_table(["asked", "mini-phi", "mini-phi-noisy"], rows, left=range(3)))

# %% [markdown]
# If the second bar is short, the textbook has taught a model that has never been outdoors. One line that it does not
# expect, and it forgets the question. The noisy one has read that line hundreds of times, and learnt that it means
# nothing. No average over clean text shows this: neither the exam nor the held-out loss has such a line in it.
#
# It is not an argument for false facts. It is one for saying which noise: wrong values were pure loss, and stray lines
# were lessons in what to ignore.

# %% [markdown]
# ## 4 · Is it the data, or the seed?
#
# The race above was one pair of trainings. Another seed draws other documents and other first weights, and each race
# ends elsewhere. How sure is the gap? Race several seeds, on a short course, and take the gap *of each seed*: what a
# seed does to both runners is gone in the difference.
#
# **Write it.** The slow way subtracts seed by seed, then the mean, then s with n - 1.


# %% tags=["exercise"]
@exercise("paired-gap")
def paired_gap(first: list[float], second: list[float], t: float) -> tuple[float, float, float]:
    """(mean, low, high) of second - first, one run of each for every seed. About 4 lines.

    Both lists are in the order of the seeds, n of them. The interval is mean ± t * s / sqrt(n), s the
    standard deviation of the n gaps, with n - 1.
    """
    ### BEGIN SOLUTION
    gaps = np.subtract(second, first)
    half = t * gaps.std(ddof=1) / math.sqrt(len(gaps))
    return float(gaps.mean()), float(gaps.mean() - half), float(gaps.mean() + half)
    ### END SOLUTION


# %% [markdown]
# The same cell answers the question of the title: the noisy text is also read at twice the tokens.
#
# **Predict.** Noisy text, twice the tokens: how many nats a token more than clean text, once? (Below 0: more beats
# clean.)

# %%
double_guess = answer("twice-the-noisy-tokens", default=0.1)  # nats, your guess


# %%
def held_to_clean(noisy, steps, seed):
    """Train, and give the nats a token of the held-out clean text."""
    recipe = replace(small, noisy=noisy, seed=seed, sequence=64, tokens=steps * 4 * 64, learning_rate=8e-3)
    run = training.Training(recipe, Path("no checkpoint"))
    for _ in run.steps_left():
        pass
    ids = [tokenizer.encode(document, words) for document in held_out]
    return losses.per_token(losses.costs(run.model.eval(), ids)).value


seeds = range(6 if FULL else 4)
SHORT = 300 if FULL else 50
ways = {"clean": (False, SHORT), "noisy": (True, SHORT), "noisy, twice the tokens": (True, 2 * SHORT)}
ends = {name: [held_to_clean(*way, seed) for seed in seeds] for name, way in ways.items()}
rows = [[name, *(f"{value:.3f}" for value in values)] for name, values in ends.items()]
HTML(html_table(["nats a token of clean text", *(f"seed {seed}" for seed in seeds)], rows))

# %%
t = textbook.T95[len(seeds)]  # Student's: with few seeds the interval is wider than 1.96 errors
gaps = {}
for name in ("noisy", "noisy, twice the tokens"):
    gap = intervals.Estimate(*paired_gap(ends["clean"], ends[name], t), len(seeds))
    singles = np.subtract(ends[name], ends["clean"])
    print(f"{name}: {told(gap, '+')} nats; single seeds from {singles.min():+.2f} to {singles.max():+.2f}")
    gaps[name] = gap.value
crossed = np.subtract.outer(ends["noisy"], ends["clean"])
print(f"noisy of one seed, clean of another: gaps of {crossed.min():+.2f} to {crossed.max():+.2f}")
compare("nats a token more than clean text", gaps, double_guess, unit="nats")

# %% [markdown]
# Look at the single seeds: a report with one of them could have said any of these numbers. The last line sets every
# noisy run beside every clean one, as two reports would be: if it begins below 0, two of them say that noisy is better.
# And if an interval contains 0, that gap is not shown yet, whatever its mean.
#
# The second bar, if it points to the left, says that *more beats clean*. A model that has read little lacks
# everything, and a noisy page tells it more than no page. So long as you can get twice the text, take it?

# %% [markdown]
# Go to the other end. The clean runner of section 2 has read its tokens, mini-phi-noisy 4 million, with ten times the
# weights.
#
# **Predict.** Facts right: the clean runner's share less that of mini-phi-noisy?

# %%
lead_guess = answer("few-clean-over-many-noisy", default=-0.3)  # your guess, between -1 and 1

# %%
runner = last["clean"].sheet.score
lead = intervals.difference(runner, sheets["noisy"].score)
clean_read, noisy_read = race.laps[-1].tokens, webbed.recipe.tokens
names = [f"clean, {clean_read:,} tokens", f"noisy, {noisy_read:,} tokens", "best reader of noisy text"]
print(f"lead {told(lead, '+')}; you guessed {lead_guess:+.2f}")
compare("facts right", dict(zip(names, [runner.value, sheets["noisy"].score.value, readers["noisy"][0]], strict=True)))

# %% [markdown]
# Both are true. While a model is short of text, more beats clean; once the text has said its say, clean wins, and no
# amount of the same text makes up for it: the third bar is where it all ends. Phi-1's authors saw it on code
# (2306.11644): on unfiltered text a small model stayed at 12.19 % of HumanEval after 200 billion tokens; on a filtered
# part of it, it came to 17.68 % in three eighths of the steps.

# %% [markdown]
# ## 5 · Is the exam in the text?
#
# A good score has a cheaper cause than good data: the questions were in it. The usual check looks for n-grams, of 13
# words since GPT-3; Phi-4 uses 13 and 7 (2412.08905, B.1).
#
# **Write it.** The share of an exam question's n-grams that stand in the training text. A question too short to have
# one is not clean: it was not looked at. `textbook.words` cuts a text into words, in small letters, without stops.


# %% tags=["exercise"]
@exercise("ngram-share")
def ngram_share(item: str, texts: list[str], n: int) -> float:
    """Which share of the item's n-grams stands in the texts. About 6 lines.

    An n-gram is n words in a row, by textbook.words(); each place in the item counts, and none
    reaches from one text into the next. nan: the item has fewer than n words.
    """

    ### BEGIN SOLUTION
    def grams(text):
        own = textbook.words(text)
        return [tuple(own[start : start + n]) for start in range(len(own) - n + 1)]

    there = {gram for text in texts for gram in grams(text)}
    found = [gram in there for gram in grams(item)]
    return sum(found) / len(found) if found else math.nan
    ### END SOLUTION


# %% [markdown]
# Now cheat. There are 200 facts; take one question for each. Copy the first 40 into the training text. Of the next 40,
# put in the same question in other words. Leave the other 120 alone. Then search for all of them with 13-grams.
#
# **Predict.** Which share of the 40 that were copied word by word will the check find?

# %%
copied_found = answer("copied-found-by-13", default=1.0)  # your guess, between 0 and 1

# %%
asked = [document.messages[-1]["content"] for document in questions]
COPIED, REWORDED, ALONE = slice(0, 40), slice(40, 80), slice(80, 200)
GROUPS = {"copied": COPIED, "in other words": REWORDED, "not planted": ALONE}


def in_other_words(document):
    """Another question for the same fact: one that training might ask."""
    return chance.choice(fact_of[document.answer].questions(corpus.TRAIN))


taught = [passage for document in clean_documents for passage in document.passages]
planted = taught + asked[COPIED] + [in_other_words(document) for document in questions[REWORDED]]
by_13 = [ngram_share(question, planted, 13) for question in asked[COPIED]]
print("words in a question:", dict(sorted(Counter(len(textbook.words(question)) for question in asked).items())))
compare("13-grams: share of the copied found", {"found": float(np.mean(np.array(by_13) > 0))}, copied_found)

# %% [markdown]
# No question has 13 words, so the check looked at nothing, and its report says *no overlap found*. That is why your
# function says nan.
#
# So shorter ones? Then the template of a question is found, *what is the capital of*, whether or not its answer was.
# Phi-4's check keeps a list of common 13-grams that do not count. Do as much: an n-gram that many questions of the exam
# share says nothing about any of them.
#
# **Write it.** The slow way counts, for each n-gram of a question, in how many questions of the exam it stands.


# %% tags=["exercise"]
@exercise("leaked-items")
def leaked_items(items: list[str], texts: list[str], n: int, common: int) -> list[int]:
    """The items, from 0, of which an n-gram stands in the texts that is no template's. About 8 lines.

    An n-gram that stands in `common` items or more is a template's; twice in one item is one item.
    n-grams as in ngram_share(). The numbers rise.
    """

    ### BEGIN SOLUTION
    def grams(text):
        own = textbook.words(text)
        return {tuple(own[start : start + n]) for start in range(len(own) - n + 1)}

    there = set().union(*map(grams, texts))
    items_with = Counter(gram for item in items for gram in grams(item))
    telling = {gram for gram, count in items_with.items() if gram in there and count < common}
    return [number for number, item in enumerate(items) if telling & grams(item)]
    ### END SOLUTION


# %%
def shares_flagged(texts, n, common):
    """Of each group the share that is flagged."""
    flagged = np.isin(np.arange(len(asked)), leaked_items(asked, texts, n, common))
    return [f"{flagged[group].mean():.2f}" for group in GROUPS.values()]


rows = []
for n in (3, 4, 5, 6, 7, 8, 10, 13):
    short = sum(len(textbook.words(question)) < n for question in asked)
    rows.append(
        [str(n), *shares_flagged(planted, n, common=len(asked) + 1), *shares_flagged(planted, n, common=2), str(short)]
    )
header = ["n", *GROUPS, *(f"{name}, no templates" for name in GROUPS), "too short"]
HTML(html_table(header, rows))

# %% [markdown]
# Read down the first column, then the third. With a small n all is found, and all is guilty. With a large n nobody is,
# and most were not looked at. In between there is no n that parts the first column from the third: at each, some copies
# pass or some of the innocent hang. And the second column goes with the third, at every n: other words are other
# n-grams.
#
# Does that matter, if it is only the same thing in other words? Train on noisy text, with the 80 planted questions and
# their answers strewn in, sixteen times each.
#
# **Predict.** *In other words* less *not planted*: by how much is the share right higher?

# %%
planted_guess = answer("planted-in-other-words", default=0.0)  # your guess, between -1 and 1

# %%
REPEATS = 16


def planted_documents():
    """The planted questions with their true answers; those of the second group in other words each time."""
    for _ in range(REPEATS):
        for place, document in enumerate(questions[: ALONE.start]):
            said = in_other_words(document) if place >= REWORDED.start else asked[place]
            rows = ({"role": "user", "content": said}, {"role": "assistant", "content": document.answer})
            yield replace(document, messages=rows)


strewn = [tokenizer.encode(document, words) for document in planted_documents()]
chance.shuffle(strewn)
cheat = training.Training(replace(small, noisy=True, tokens=small.tokens * 3 // 5, seed=3), Path("no checkpoint"))
each_step = math.ceil(len(strewn) / cheat.steps)
for _ in cheat.steps_left():
    cheat.text.waiting[:0] = [strewn.pop() for _ in range(min(each_step, len(strewn)))]

# %%
right = racing.Onlooker({}, questions)(cheat).sheet.right
scores = {name: intervals.share(sum(right[group]), len(right[group])) for name, group in GROUPS.items()}
leak = intervals.difference(scores["in other words"], scores["not planted"])
print(f"in other words less not planted: {told(leak, '+')}; you guessed {planted_guess:+.2f}")
compare("facts right, by what was planted", {name: score.value for name, score in scores.items()})

# %% [markdown]
# What stands out does not because the model is good: its text is noisy, and it read half of the course. If the second
# bar stands out too, what no search by words can find has raised a score. (If the interval above contains 0, forty
# questions are too few to say so.) phi-1's authors found four questions of HumanEval by 13-grams, all by accident, and
# went on to prune by meaning (2306.11644, 5).
#
# The last bar is the check that works without any training text: ask something new. A score that holds only for the
# exam that everybody knows is a score of the exam.

# %% [markdown]
# ## What we found

# %%
at_equal = intervals.difference(sheets["clean"].score, sheets["noisy"].score)
claims.verdict(
    "P17",
    {"facts_lead_low": at_equal.low, "facts_lead_over_more_noisy_low": lead.low},
    beside={"noisy_tokens_over_clean": noisy_read / clean_read, "facts_lead": at_equal.value},
)

# %%
phi4 = catalog.get("phi-4")
claims.verdict(
    "P16",
    {"training_tokens": phi4.training_tokens},
    beside={"nats_with_twice_the_noisy_tokens": gaps["noisy, twice the tokens"]},
)

# %%
claims.verdict(
    "P18",
    {},
    beside={
        "copied_found_by_13_grams": float(np.mean(np.array(by_13) > 0)),
        "share_right_gained_by_other_words": leak.value,
    },
)

# %% [markdown]
# P17 holds here if both lower ends are above 0: at equal tokens, and against many times as many. P16's two halves do
# not go together: Phi's text was chosen with care, and there is as much of it as of anybody's. P18 cannot be tested by
# anyone outside: the text was never published, and the two numbers beside it say what a search of it would be worth.

# %% [markdown]
# ## Limits and sources
#
# A world of 200 facts, sentences from moulds, models of 0.4 and 4 million weights. Our bad web tells *one* mistake of
# each fact, and tells it again and again, like a rumour; mistakes that differ each time would be outvoted sooner. What
# carries over: equal tokens, a common held-out text, a gap per seed, an exam with the noise of the place where the
# model will work, and questions that nobody has seen.
#
# Textbooks Are All You Need, 2306.11644 (sections 2.1 and 5); Phi-4's report, 2412.08905 (B.1); 13-grams: GPT-3's
# report, 2005.14165 (appendix C). Student's t: Biometrika 6 (1908) 1. Intervals of shares: Wilson, JASA 22 (1927) 209.
# Claims: microsoft/edgeai-for-beginners @ 05d7c7ef, Module02.
