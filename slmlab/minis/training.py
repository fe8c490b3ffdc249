"""Training: train(name, output) makes a mini by its recipe, on the CPU, and goes on where it was interrupted.

AdamW, a short warm-up, a constant rate to 60 % of the steps, then a straight line to nothing; gradients clipped to a
norm of 1. Matrices decay, norms and scales do not. Where the processor multiplies bfloat16 itself, the forward runs
under autocast; weights and moments are float32 everywhere.

Documents are packed: a sequence is filled with whole ones, and what room is left with the start of the next, which
comes again whole. No place is padding. Attention does not cross documents and positions begin again with each, because
that is how a mini is asked later: its prompt is the first thing it sees. A code of a document before would be a false
answer to a needle's question, and ignoring it is a skill that a small model pays for.

The documents of a step take 1 or 2 % of its time, so that no thread makes them ahead: it would take that time from the
same cores.

OUTPUT.partial/checkpoint.safetensors holds all that a training is: weights, moments, and as JSON in its header the
next document's number, the losses of all steps and the seconds. A resumed training ends with the very weights of one
that ran through, on the same machine with as many threads.
"""

import json
import math
import random
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from tqdm import tqdm

from .. import places
from . import CARD, MiniError, cards, corpus, recipes, storing, tokenizer
from .recipes import Recipe

BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.1  # of matrices
WARM_UP_STEPS = 40  # or a tenth of all steps, if that is less
CONSTANT_UNTIL = 0.6  # of the steps
CLIP_NORM = 1.0
SHORT_TOKENS = 160  # of the longest document, where the short ones come first
SHORT_UNTIL, ALL_FROM = 0.27, 0.45  # of the steps
CHECKPOINT_S = 30
EAGER_UNTIL = 256  # tokens of a sequence
LOOKAHEAD = 48  # documents waiting for a sequence with room for them
PATIENCE = 1000  # documents, nearly all of them too long
WIDTHS = (1.0, 0.75, 0.5, 0.25)  # of a MatFormer's FFN
WIDTH_SHARES = (4, 1, 2, 1)  # of the sequences that are trained with each
HELD_OUT_DOCUMENTS = 64  # of each kind

CHECKPOINT = "checkpoint.safetensors"
STATE = "state"  # key in its header


def train(name: str, output: Path, *, tokens: int | None = None, progress: bool = True) -> Path:
    """Train the mini or twin called `name` and write its folder to `output`, which it returns.

    What an interrupted training left in OUTPUT.partial/ is taken up, and removed once `output` is complete. A mini that
    lies at `output` already is replaced at the end; anything else there is left alone.

    tokens: to train on instead of the recipe's, rounded up to whole steps

    MiniError: there is no such recipe, something else lies at `output`, too few tokens, or OUTPUT.partial/ is of
    another training.
    """
    recipe = recipes.recipe(name)
    return carry_out(recipe if tokens is None else replace(recipe, tokens=tokens), Path(output), progress)


def carry_out(recipe: Recipe, output: Path, progress: bool = True) -> Path:
    """train() of any recipe."""
    if output.exists() and not (output / CARD).is_file() and not (output.is_dir() and not any(output.iterdir())):
        raise MiniError(f"{output} is there and is no mini. Next: name another output, or move it away")
    if recipe.tokens < 1:
        raise MiniError(f"tokens came as {recipe.tokens}, wanted at least 1")
    partial = output.with_name(f"{output.name}.partial")
    training = Training(recipe, partial)
    if training.resume() and progress:
        print(f"{recipe.name}: goes on at step {training.step} of {training.steps}")
    training.run(progress)
    training.finish(output)
    shutil.rmtree(partial)
    return output


class Training:
    """A training under way: a model, its optimizer, its text, and how far it is."""

    def __init__(self, recipe: Recipe, partial: Path):
        self.recipe, self.partial = recipe, partial
        self.steps = math.ceil(recipe.tokens / (recipe.batch * recipe.sequence))
        self.precision = precision()
        self.words = tokenizer.load(recipe.family)
        self.model = recipes.new_model(recipe)
        # With a mask of documents torch's fused attention is slower on a CPU than plain products, until these no longer
        # fit into its cache. Both compute the same.
        self.model.set_attn_implementation("eager" if recipe.sequence <= EAGER_UNTIL else "sdpa")
        self.nested = NestedWidths(self.model) if recipe.matformer else None
        self.optimizer = new_optimizer(self.model)
        self.text = Text(recipe, self.words)
        self.losses: list[float] = []  # of each step
        self.seconds = 0.0  # spent on steps
        self.commit = ""  # of the code that began it, as soon as anything is to be kept

    @property
    def step(self) -> int:
        """How many are done."""
        return len(self.losses)

    def run(self, progress: bool = True) -> None:
        """All steps that are left. Ctrl-C loses what came after the last checkpoint, at most half a minute."""
        self.commit = self.commit or cards.commit()  # now: a clone may go on while it trains
        saved = time.monotonic()
        try:
            with _fast_arithmetic(self.precision), _bar(self, progress) as bar:
                while self.step < self.steps:
                    start = time.monotonic()
                    self.take_step()
                    self.seconds += time.monotonic() - start
                    bar.set_postfix_str(f"loss {_recent(self.losses):.3f}", refresh=False)
                    bar.update()
                    if time.monotonic() - saved > CHECKPOINT_S or self.step == self.steps:
                        self.save()
                        saved = time.monotonic()
        except KeyboardInterrupt:
            print(f"{self.recipe.name}: stopped at step {self.step} of {self.steps}; the same command goes on")
            raise

    def steps_left(self) -> Iterator[int]:
        """Takes the steps that are left, one before each number it gives, and saves none: for a loop that looks on.

        >>> for step in training.steps_left(): chart.add(step, training.losses[-1])        # doctest: +SKIP

        A loop that is interrupted can be begun again: the training goes on where it was.
        """
        with _fast_arithmetic(self.precision):
            while self.step < self.steps:
                self.take_step()
                yield self.step

    def take_step(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * rate(self.step, self.steps)
        packed = self.text.batch(longest(self.recipe, self.step, self.steps))
        if self.nested:
            self.nested.draw(len(packed.ids), random.Random(f"{self.recipe.seed}/widths/{self.step}"))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
            loss, nats = losses(self.model, packed)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if not math.isfinite(nats):
            raise MiniError(f"the loss is {nats} at step {self.step}. Next: a lower learning rate in the recipe")
        self.losses.append(nats)

    # ------------------------------------------------------------------------------------------------------------------
    # Checkpoints

    def identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to be taken up."""
        return {
            "recipe": json.loads(json.dumps(asdict(self.recipe))),
            "corpus": corpus.fingerprint(),
            "tokenizer": cards.sha256(tokenizer.FILE),
            "precision": self.precision,
        }

    def save(self) -> None:
        """Write the checkpoint in place of the last one."""
        self.commit = self.commit or cards.commit()
        tensors = {f"model.{name}": value.detach() for name, value in self.model.named_parameters()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
        state = {
            "identity": self.identity(),
            "next_document": self.text.next_document,
            "passed_over": self.text.passed_over,
            "waiting": self.text.waiting,
            "losses": self.losses,
            "seconds": self.seconds,
            "commit": self.commit,
        }
        with places.replacing(self.partial / CHECKPOINT) as new:
            save_file(tensors, new, {STATE: json.dumps(state)})

    def resume(self) -> bool:
        """Take up the checkpoint if there is one; whether there was. MiniError: it is of another training."""
        file = self.partial / CHECKPOINT
        if not file.is_file():
            return False
        with safe_open(file, "pt") as opened:
            state = json.loads(opened.metadata()[STATE])
            self._refuse(state["identity"])
            moments: dict[int, dict[str, torch.Tensor]] = {}
            for key in opened.keys():  # noqa: SIM118 (a safe_open is no dict)
                kind, _, name = key.partition(".")
                if kind == "optimizer":
                    index, _, name = name.partition(".")
                    moments.setdefault(int(index), {})[name] = opened.get_tensor(key).clone()
            with torch.no_grad():
                for name, value in self.model.named_parameters():
                    value.copy_(opened.get_tensor(f"model.{name}"))
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
        self.text.next_document, self.text.waiting = state["next_document"], state["waiting"]
        self.text.passed_over = state["passed_over"]
        self.losses, self.seconds = state["losses"], state["seconds"]
        self.commit = state.get("commit", "unknown")  # early checkpoints had none
        return True

    def _refuse(self, came: dict[str, Any]) -> None:
        for what, wanted in self.identity().items():
            if came[what] != wanted:
                if what == "recipe":
                    what = next(name for name in wanted if came["recipe"].get(name) != wanted[name])
                    came, wanted = came["recipe"], wanted[what]
                raise MiniError(
                    f"{self.partial} holds the checkpoint of another training: its {what} is {came.get(what)}, now it "
                    f"is {wanted}. Next: delete that folder, or name another output"
                )

    # ------------------------------------------------------------------------------------------------------------------
    # The end

    def finish(self, output: Path) -> None:
        """Write the mini's folder: the weights as they are stored are also those that are measured."""
        self.commit = self.commit or cards.commit()
        if self.nested:
            self.nested.mask = None
        model = storing.rounded(self.model).eval()
        model.set_attn_implementation("sdpa")  # as it is loaded
        nats = held_out_nats(model, self.words, self.recipe)
        samples = cards.samples(model, self.words, self.recipe)
        with places.replacing(output) as new:
            new.mkdir()
            storing.save(model, self.words, new)
            cards.write(new, cards.describe(self, model, nats, samples, new))


def precision() -> str:
    """In which type matrices are multiplied in training: "bfloat16" if the processor has instructions for that.

    Others can emulate it, and are slower so than in float32.
    """
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if native else "float32"


def new_optimizer(model) -> torch.optim.AdamW:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in parameters if parameter.ndim >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=BETAS, fused=True)


def rate(step: int, steps: int) -> float:
    """The share of the learning rate at a step, counted from 0: up, constant, down to nearly nothing."""
    warm_up = min(WARM_UP_STEPS, math.ceil(steps / 10))
    decay_from = CONSTANT_UNTIL * steps
    return min(1.0, (step + 1) / warm_up, (steps - step) / (steps - decay_from))


def longest(recipe: Recipe, step: int, steps: int) -> int:
    """Tokens of the longest document that is taken at a step, counted from 0.

    Where the short come first: SHORT_TOKENS until SHORT_UNTIL of the steps, then more each step, and from ALL_FROM on
    whatever fits into a sequence. Longer documents are passed over.
    """
    if not recipe.short_first:
        return tokenizer.MAX_TOKENS
    grown = (step / steps - SHORT_UNTIL) / (ALL_FROM - SHORT_UNTIL)
    if grown >= 1:
        return tokenizer.MAX_TOKENS
    return round(SHORT_TOKENS + max(0.0, grown) * (recipe.sequence - SHORT_TOKENS))


def losses(model, packed: "Packed") -> tuple[torch.Tensor, float]:
    """What is minimised, and the mean nats of a predicted token.

    The first is a weighed mean where the sequences have weights, and with experts it is more, see the model's class.
    """
    mixture = hasattr(model.config, "router_aux_loss_coef")
    options = {"output_router_logits": True} if mixture else {}  # in the call: a saved True breaks generate()
    if packed.weights is not None:
        out = model(input_ids=packed.ids, position_ids=packed.positions, use_cache=False, **options)
        predicted = packed.positions[:, 1:] > 0
        logits, ids = out.logits[:, :-1][predicted].float(), packed.ids[:, 1:][predicted]
        weights = packed.weights[:, 1:][predicted]
        nats = nn.functional.cross_entropy(logits, ids, reduction="none")
        balance = model.config.router_aux_loss_coef * out.aux_loss if mixture else 0.0
        return (nats * weights).sum() / weights.sum() + balance, nats.mean().item()
    out = model(input_ids=packed.ids, position_ids=packed.positions, labels=packed.labels(), use_cache=False, **options)
    balance = model.config.router_aux_loss_coef * out.aux_loss.item() if mixture else 0.0
    return out.loss, out.loss.item() - balance


@torch.no_grad()
def held_out_nats(model, words, recipe: Recipe) -> dict[str, float]:
    """Kind of document -> mean nats of a token of held-out ones; "all": weighed as the mixture's documents are."""
    found, nats, tokens = {}, 0.0, 0.0
    for kind, share in recipe.mixture.items():
        documents = corpus.exams.held_out(kind, HELD_OUT_DOCUMENTS, recipe.seed)
        total, count = 0.0, 0
        for document in documents:
            ids = tokenizer.encode(document, words)
            packed = Packed(torch.tensor([ids]), torch.arange(len(ids))[None])
            total += losses(model, packed)[1] * (len(ids) - 1)
            count += len(ids) - 1
        found[kind] = total / count
        nats, tokens = nats + share * total, tokens + share * count
    return found | {"all": nats / tokens}


# ------------------------------------------------------------------------------------------------------------------
# Text


@dataclass(frozen=True)
class Packed:
    """Sequences of documents, one behind the other: ids and the place of each in its document, (B, T) int64.

    weights: of each id in what is minimised, (B, T) float32; None: all the same
    """

    ids: torch.Tensor
    positions: torch.Tensor
    weights: torch.Tensor | None = None

    def labels(self) -> torch.Tensor:
        """The ids that are predicted, by the place before them; -100, nothing, for a document's first."""
        return self.ids.masked_fill(self.positions == 0, -100)


@dataclass
class Text:
    """The documents of a recipe, in sequences without gaps. `next_document` and `waiting` say where it stands."""

    recipe: Recipe
    words: Any
    next_document: int = 0
    passed_over: int = 0  # documents, too long when their turn came
    waiting: list[list[int]] = field(default_factory=list)  # ids of documents, the oldest first; see _marked

    def batch(self, longest: int = tokenizer.MAX_TOKENS) -> Packed:
        """The next sequences. Documents of more than `longest` tokens are passed over."""
        rows = [self.sequence(longest) for _ in range(self.recipe.batch)]
        marked = torch.tensor([[id for document in row for id in document] for row in rows])
        positions = torch.tensor([[place for document in row for place in range(len(document))] for row in rows])
        if self.recipe.prompt_weight == 1.0:
            return Packed(marked, positions)
        theirs = marked < 0
        weights = torch.ones(marked.shape).masked_fill(theirs, self.recipe.prompt_weight)
        return Packed(torch.where(theirs, ~marked, marked), positions, weights)

    def sequence(self, longest: int = tokenizer.MAX_TOKENS) -> list[list[int]]:
        """Documents that fill one sequence: the oldest first, then always the longest that fits."""
        self._refill(longest)
        room = self.recipe.sequence
        row = [self.waiting.pop(0)[:room]]
        room -= len(row[0])
        while room:
            fitting = [place for place, document in enumerate(self.waiting) if len(document) <= room]
            if fitting:
                row.append(self.waiting.pop(max(fitting, key=lambda place: len(self.waiting[place]))))
            else:
                row.append(self.waiting[0][:room])
            room -= len(row[-1])
            self._refill(longest)
        return row

    def _refill(self, longest: int) -> None:
        missing = LOOKAHEAD - len(self.waiting)
        if missing > LOOKAHEAD // 4 or not self.waiting:
            seen = 0
            while missing := LOOKAHEAD - len(self.waiting):
                if seen > PATIENCE:
                    raise MiniError(
                        f"of {seen} documents hardly one has at most {longest} tokens. Next: a recipe with kinds of "
                        "shorter ones in its mixture, or without short_first"
                    )
                seen += missing
                marked = map(self._marked, self._documents(missing))
                self.waiting += (short := [ids for ids in marked if len(ids) <= longest])
                self.passed_over += missing - len(short)

    def _marked(self, document: corpus.Document) -> list[int]:
        """The ids of a document; where the recipe weighs them, ~id for those that the mini does not say."""
        ids = tokenizer.encode(document, self.words)
        if self.recipe.prompt_weight == 1.0:
            return ids
        own = tokenizer.said(document, self.words)
        return [id if mine else ~id for id, mine in zip(ids, own, strict=True)]

    def _documents(self, count: int) -> Iterator[corpus.Document]:
        recipe = self.recipe
        stream = corpus.documents(recipe.mixture, recipe.seed, start=self.next_document)
        for number, document in zip(range(self.next_document, self.next_document + count), stream, strict=False):
            if recipe.noisy:
                document = corpus.noisy(document, random.Random(f"{recipe.seed}/noise/{number}"))
            yield document
        self.next_document += count


# ------------------------------------------------------------------------------------------------------------------
# MatFormer


class NestedWidths:
    """Lets each sequence of a batch pass the first units alone of every FFN of a model: full, or a share of it.

    Units beyond are 0 where down_proj reads them, which is what cutting the rows of gate_proj and up_proj and the
    columns of down_proj gives. Half the sequences are full in the mean, so that a step improves the whole and its parts
    at once.
    """

    def __init__(self, model):
        self.mask: torch.Tensor | None = None  # (B, 1, intermediate); None: all are full
        blocks = [module for name, module in model.named_modules() if name.endswith(".mlp.down_proj")]
        for down_proj in blocks:
            down_proj.register_forward_pre_hook(self._cut)
        (self.full,) = {down_proj.in_features for down_proj in blocks}

    def draw(self, batch: int, rng: random.Random) -> None:
        widths = [round(share * self.full) for share in rng.choices(WIDTHS, WIDTH_SHARES, k=batch)]
        self.mask = (torch.arange(self.full) < torch.tensor(widths)[:, None, None]).float()

    def _cut(self, down_proj: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor] | None:
        return None if self.mask is None else (inputs[0] * self.mask.to(inputs[0].dtype),)


# ------------------------------------------------------------------------------------------------------------------
# While it runs


@contextmanager
def _fast_arithmetic(precision: str) -> Iterator[None]:
    """Inside, the processor is spared what costs time and brings nothing.

    Second moments of rare ids shrink to denormal numbers, on which it is slow: they become 0. And where bfloat16 is at
    hand, float32 products, BitLinear's, may be rounded to it. Its codes are whole numbers that bfloat16 holds, so that
    its forward stays exact; and without AMX nothing is rounded, but oneDNN is taken, the faster one on AMD processors.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_flush_denormal(True)
    if precision == "bfloat16":
        torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        torch.set_flush_denormal(False)


def _recent(values: list[float]) -> float:
    """Of the last steps, so that one easy batch does not show."""
    return sum(values[-20:]) / len(values[-20:])


def _bar(training: Training, progress: bool) -> tqdm:
    return tqdm(
        desc=training.recipe.name,
        total=training.steps,
        initial=training.step,
        unit="step",
        file=sys.stdout,
        disable=not progress,
        mininterval=1 if sys.stdout.isatty() else 30,
        dynamic_ncols=True,
    )
