"""What is measured of a mini: each function makes the rows of one exam, or of one comparison."""

from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..minis import recipes
from ..minis.corpus import exams as papers
from ..minis.corpus.parallel import CODES
from . import candidates, exams, experts, losses, needles, ternary, widths
from .candidates import Candidate
from .errors import EvaluationError
from .generation import Ids
from .intervals import Estimate, difference, share
from .losses import Cost
from .rows import Row, measured

SEED = 1  # of every exam
QUESTIONS = 300  # of an exam
DOCUMENTS = 120  # of each kind, for losses
TERMS = (2, 3, 4, 5, 6)  # of a sum; 5 and 6 are more than any that was learnt
BUDGET_TERMS = (2, 3, 4)
BUDGETS = (0, 8, 16, 32, 64, 128)  # tokens
HAYSTACKS = (10, 20, 30, 60, 100, 160, 240)  # words
SHARE, LOSS = "share right", "nats/token"


class Hall:
    """The candidates of one evaluation, loaded once, and what several of its rows need."""

    def __init__(self, folder: Callable[[str], Path] | None = None):
        self._folder = folder
        self._kept: dict[tuple, object] = {}

    def candidate(self, name: str) -> Candidate:
        """Whatever load() raises: it is not there."""
        return self._once(
            ("candidate", name), lambda: candidates.load(name, self._folder(name) if self._folder else None)
        )

    def documents(self, one: Candidate) -> list:
        """Held-out documents of the kinds that this mini learns."""
        kinds = tuple(one.recipe.mixture)
        return self._once(
            ("documents", kinds), lambda: [d for kind in kinds for d in papers.held_out(kind, DOCUMENTS, SEED)]
        )

    def sequences(self, one: Candidate) -> list[Ids]:
        """Their ids."""
        return self._once(("sequences", one.name), lambda: one.encode(self.documents(one)))

    def costs(self, one: Candidate) -> list[Cost]:
        """What they cost it."""
        return self._once(("costs", one.name), lambda: losses.costs(one.model, self.sequences(one)))

    def facts(self, one: Candidate, wording: str) -> Estimate:
        """How many questions it answers, in a wording that was "seen" with this fact or is "new" to it."""
        questions = papers.facts(wording, QUESTIONS, SEED)
        return self._once(("facts", one.name, wording), lambda: exams.sit(one.respond, questions, exams.says).score)

    def sums(self, one: Candidate, terms: int) -> tuple[exams.Sheet, list[Ids]]:
        """The exam with thinking, and the ids of its answers."""
        return self._once(("sums", one.name, terms), lambda: self._sums(one, terms))

    def _sums(self, one: Candidate, terms: int) -> tuple[exams.Sheet, list[Ids]]:
        documents = papers.sums(terms, True, QUESTIONS, SEED)
        answers = one.ask(documents)
        return exams.mark(documents, one.say(answers), exams.says), answers

    def direct(self, one: Candidate, terms: int) -> exams.Sheet:
        """The exam without thinking."""
        return self._once(
            ("direct", one.name, terms),
            lambda: exams.sit(one.respond, papers.sums(terms, False, QUESTIONS, SEED), exams.says),
        )

    def _once(self, key: tuple, make: Callable):
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]


# ------------------------------------------------------------------------------------------------------------------
# Every mini


def held_out_loss(hall: Hall, one: Candidate) -> list[Row]:
    costs = hall.costs(one)
    by_domain = defaultdict(list)
    for document, cost in zip(hall.documents(one), costs, strict=True):
        by_domain[document.domain].append(cost)
    found = [measured("held-out-loss", one.name, "held-out loss", losses.per_token(costs), LOSS)]
    for domain, own in sorted(by_domain.items()):
        what = f"held-out loss, {domain}"
        found.append(measured(f"held-out-loss-{domain}", one.name, what, losses.per_token(own), LOSS))
    return found


def facts(hall: Hall, one: Candidate) -> list[Row]:
    return [
        measured(f"facts-{wording}-wording", one.name, what, hall.facts(one, wording), SHARE)
        for wording, what in (("seen", "facts, wording seen"), ("new", "facts, new wording"))
    ]


def tool_calls(hall: Hall, one: Candidate) -> list[Row]:
    documents = papers.tool_calls(QUESTIONS, SEED)
    answers = one.respond(documents)
    return [
        measured(claim, one.name, what, exams.mark(documents, answers, judge).score, SHARE)
        for claim, what, judge in (
            ("tool-calls-json", "tool calls: valid JSON", exams.calls_valid_json),
            ("tool-calls-function", "tool calls: and the right function", exams.calls_right_function),
            ("tool-calls", "tool calls: and the right arguments", exams.calls_rightly),
        )
    ]


def recall(hall: Hall, one: Candidate) -> list[Row]:
    """Within the window: the local layers see the whole needle until it is written. Beyond: no local layer sees any of
    it; a global one does, and what local layers hand on from one to the next."""
    documents = [d for words in HAYSTACKS for d in papers.needles(words, QUESTIONS // 3, SEED)]
    sheet = exams.sit(one.respond, documents, exams.says)
    reaches = [needles.reach(document, one.words) for document in documents]
    found = []
    if window := getattr(one.model.config, "sliding_window", None):
        for claim, what, inside in (
            ("needles-within-window", f"needle recall within {window} tokens", lambda r: r.farthest <= window),
            ("needles-beyond-window", f"needle recall beyond {window} tokens", lambda r: r.nearest >= window),
        ):
            found.append(measured(claim, one.name, what, sheet.where(map(inside, reaches)).score, SHARE))
    for low, high in pairwise(needles.EDGES):
        if any(inside := [low <= reach.nearest < high for reach in reaches]):
            what = f"needle recall, {low} to {high - 1} tokens between"
            claim = f"needles-{low}-to-{high - 1}-tokens"
            found.append(measured(claim, one.name, what, sheet.where(inside).score, SHARE))
    return found


def languages(hall: Hall, one: Candidate) -> list[Row]:
    """Translations: how often they are right, and what the right one costs, a token and a byte.

    Of a token a language's words are cut into more pieces or fewer; a byte is the same for all of them.
    """
    found = []
    for code in CODES:
        documents = papers.languages(code, DOCUMENTS, SEED)
        found.append(
            measured(
                f"translations-into-{code}",
                one.name,
                f"translations into {code}",
                exams.sit(one.respond, documents, exams.says).score,
                SHARE,
            )
        )
        sequences, starts = one.encode_answered(documents)
        costs = losses.costs(one.model, sequences, starts)
        per_byte = losses.per_byte(costs, [len(document.answer.encode()) for document in documents])
        what = f"loss of the right translation into {code}"
        found.append(measured(f"language-loss-{code}", one.name, what, losses.per_token(costs), LOSS))
        found.append(measured(f"language-loss-per-byte-{code}", one.name, what, per_byte, "nats/byte"))
    return found


# ------------------------------------------------------------------------------------------------------------------
# Sums


def sums(hall: Hall, one: Candidate, terms: int) -> list[Row]:
    what = f"sums of {terms} terms"
    thinking = hall.sums(one, terms)[0].score
    found = [measured(f"sums-{terms}-terms-thinking", one.name, f"{what}, thinking", thinking, SHARE)]
    if "sum-direct" in one.recipe.mixture:  # others never learnt to answer at once
        direct = hall.direct(one, terms).score
        gain = difference(thinking, direct)
        found += [
            measured(f"sums-{terms}-terms-direct", one.name, f"{what}, without thinking", direct, SHARE),
            measured(f"sums-{terms}-terms-gain-by-thinking", one.name, f"{what}: gain by thinking", gain, SHARE),
        ]
    return found


def budgets(hall: Hall, one: Candidate) -> list[Row]:
    """Sums of 2 to 4 terms, all in one, where thinking is cut after a number of tokens."""
    scores = []
    for budget in BUDGETS:
        sheets = []
        for terms in BUDGET_TERMS:
            sheet, answers = hall.sums(one, terms)
            cut = one.after_budget(sheet.documents, answers, budget)
            sheets.append(exams.mark(sheet.documents, cut, exams.says))
        scores.append(exams.join(sheets).score)
    found = [
        measured(f"sums-budget-{budget}", one.name, f"sums, at most {budget} tokens of thought", score, SHARE)
        for budget, score in zip(BUDGETS, scores, strict=True)
    ]
    gain = difference(scores[-1], scores[0])
    steps = [difference(after, before) for before, after in pairwise(scores)]
    grows = gain.low > 0 and all(step.high >= 0 for step in steps)  # a step down is one beyond chance
    what = f"sums: gain by {BUDGETS[-1]} tokens of thought"
    return [*found, measured("sums-gain-by-budget", one.name, what, gain, SHARE, grows)]


# ------------------------------------------------------------------------------------------------------------------
# What one family shows


def expert_shares(hall: Hall, one: Candidate) -> list[Row]:
    """Domains choose other experts before any training too: they have other words. So the same is measured of that."""
    domains = [document.domain.partition("-")[0] for document in hall.documents(one)]  # all languages are one
    counts = experts.choices(one.model, hall.sequences(one))  # (documents, layers, experts)
    by_domain = _split(counts, domains)
    layers = [experts.distance(by_domain, layer) for layer in range(counts.shape[1])]
    best = max(range(len(layers)), key=lambda layer: layers[layer].value)
    new = _split(experts.choices(recipes.new_model(one.recipe).eval(), hall.sequences(one)), domains)
    distances = [
        ("experts-distance", "distance of domains, best layer", experts.distance(by_domain)),
        *((f"experts-distance-layer-{n}", f"distance of domains, layer {n}", found) for n, found in enumerate(layers)),
        ("experts-distance-farthest", f"farthest two domains, layer {best}", experts.farthest(by_domain, best)),
        ("experts-distance-untrained", "distance of domains, best layer, before training", experts.distance(new)),
    ]
    found = [
        measured(claim, one.name, f"experts: {what}", value, "total variation") for claim, what, value in distances
    ]
    dead = float(experts.dead(by_domain))
    what = "experts: under a tenth of an even share in every domain"
    found.append(measured("experts-dead", one.name, what, Estimate(dead, dead, dead, len(counts)), "experts"))
    for domain, own in by_domain.items():
        favourite, estimate = experts.favourite(own, best)
        what = f"experts: layer {best}, {domain}: share of expert {favourite}"
        found.append(measured(f"experts-favourite-{domain}", one.name, what, estimate, "share of choices"))
    return found


def _split(counts: np.ndarray, domains: list[str]) -> dict[str, np.ndarray]:
    """Counts of documents, by their domain."""
    return {domain: counts[[own == domain for own in domains]] for domain in sorted(set(domains))}


def half_width(hall: Hall, one: Candidate) -> list[Row]:
    what = "first half of the FFN's width: loss above the whole"
    return [measured("half-width-costs", one.name, what, halved_above(hall, one), LOSS)]


def halved_above(hall: Hall, one: Candidate) -> Estimate:
    """A mini with half the width of its feed-forward layers, against itself."""
    half = losses.costs(widths.sliced(one.model, 0.5), hall.sequences(one))
    return losses.increase(half, hall.costs(one))


def on_kernels(hall: Hall, one: Candidate) -> list[Row]:
    """Whether the packed model writes the ids that the forward of training writes: whole answers, seen wording."""
    documents = papers.facts("seen", QUESTIONS, SEED)
    theirs = one.on(ternary.as_trained(one.model)).ask(documents)
    ours = one.on(ternary.packed(one.model)).ask(documents)
    what = "packed on the kernels: answers with the same ids as in training"
    score = share(ternary.same_ids(ours, theirs), len(theirs))
    return [measured("packed-same-answers", one.name, what, score, "share of answers")]


# ------------------------------------------------------------------------------------------------------------------
# Two of them


def clean_minus_noisy(hall: Hall, clean: Candidate, noisy: Candidate) -> Estimate:
    return difference(hall.facts(clean, "new"), hall.facts(noisy, "new"))


def intervals_apart(hall: Hall, clean: Candidate, noisy: Candidate) -> bool:
    return hall.facts(clean, "new").low > hall.facts(noisy, "new").high


def loss_above(hall: Hall, one: Candidate, twin: Candidate) -> Estimate:
    """On the same documents, one by one."""
    if hall.sequences(one) != hall.sequences(twin):
        raise EvaluationError(f"{one.name} and {twin.name} read other ids: a twin has its mini's family and mixture")
    return losses.increase(hall.costs(one), hall.costs(twin))


def rounded_above(hall: Hall, one: Candidate, twin: Candidate) -> Estimate:
    """The twin, made ternary after its training, against itself."""
    rounded = losses.costs(ternary.rounded(twin.model), hall.sequences(twin))
    return losses.increase(rounded, hall.costs(twin))
