"""One vocabulary for all minis, a chat template for each family: from a document of the corpus to text and ids.

>>> tokenizer = load("qwen")                                            # doctest: +SKIP
>>> ids = encode(document, tokenizer)                                   # doctest: +SKIP

A byte-level BPE of 2048 entries, so that no text is unknown to it: the special tokens of all families, the 256 bytes,
and what was merged most often in the corpus. Before it is merged, text is cut as Qwen2's tokenizer cuts it (GGUF calls
that cut "qwen2"): each digit is a token of its own, and a space belongs to the word that follows. Nothing is
normalised, and the tokenizer adds nothing by itself: <bos> and the like are written by the templates.

`python -m slmlab.minis.tokenizer` makes tokenizer.json again. The weights of every mini depend on that file.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from .. import places
from . import MiniError
from .corpus import KINDS, Document, documents

HERE = Path(__file__).resolve().parent
FILE = HERE / "tokenizer.json"
TEMPLATES = HERE / "templates"
VOCABULARY = 2048
MAX_TOKENS = 1024  # of a text; longer ones give transformers' warning

# Qwen2's own expression: contractions, words, single digits, runs of signs, line breaks, spaces.
CUT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CONTROL = (  # left out where text is shown (skip_special_tokens=True)
    "<pad>", "<|endoftext|>", "<|im_start|>", "<|im_end|>",
    "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|tool|>", "<|/tool|>", "<|tool_response|>",
    "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>",
    "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>",
)  # fmt: skip
SHOWN = (  # parts of an answer, as for the real families
    "<think>", "</think>", "<tools>", "</tools>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>",
    "<|tool_call|>", "<|/tool_call|>",
)  # fmt: skip
THINK_END = "\n</think>\n\n"  # closes scratch work that was cut short; the answer follows


@dataclass(frozen=True)
class Family:
    """The tokens with which a family ends what it says."""

    turn_end: str  # its tokenizer's eos_token
    text_end: str  # after every document
    bos: str | None = None  # its template begins with it


FAMILIES = {
    "phi": Family("<|end|>", "<|endoftext|>"),
    "qwen": Family("<|im_end|>", "<|endoftext|>"),
    "gemma": Family("<end_of_turn>", "<eos>", "<bos>"),
    "bitnet": Family("<|eot_id|>", "<|end_of_text|>", "<|begin_of_text|>"),
}


def load(family: str):
    """The tokenizer of a family, a transformers.PreTrainedTokenizerFast that pads on the left. MiniError: no such."""
    from tokenizers import Tokenizer

    return _dressed(Tokenizer.from_file(str(FILE)), family)


def _dressed(vocabulary, family: str):
    """A tokenizers.Tokenizer with a family's template and tokens."""
    from transformers import PreTrainedTokenizerFast

    if family not in FAMILIES:
        raise MiniError(f"the family came as {family!r}, wanted one of {', '.join(FAMILIES)}")
    return PreTrainedTokenizerFast(
        tokenizer_object=vocabulary,
        chat_template=(TEMPLATES / f"{family}.jinja").read_text(encoding="utf-8"),
        bos_token=FAMILIES[family].bos,
        eos_token=FAMILIES[family].turn_end,
        pad_token="<pad>",
        padding_side="left",
        model_max_length=MAX_TOKENS,
        clean_up_tokenization_spaces=False,
    )


def family_of(tokenizer) -> Family:
    """The family whose turns end as this tokenizer's do. MiniError: it is none of ours."""
    for family in FAMILIES.values():
        if family.turn_end == tokenizer.eos_token:
            return family
    ends = ", ".join(family.turn_end for family in FAMILIES.values())
    raise MiniError(f"the tokenizer's eos_token came as {tokenizer.eos_token!r}, wanted one of {ends}")


def stop_ids(tokenizer) -> list[int]:
    """Ids at which generation stops: the end of a turn, the end of a text."""
    family = family_of(tokenizer)
    return tokenizer.convert_tokens_to_ids([family.turn_end, family.text_end])


def render(document: Document, tokenizer) -> str:
    """What a mini learns: the text, or the messages in the family's template, then the family's end of text."""
    text = _chat(document, tokenizer, False) if document.messages else document.text
    return text + family_of(tokenizer).text_end


def encode(document: Document, tokenizer) -> list[int]:
    """The ids of render()."""
    return tokenizer.encode(render(document, tokenizer), add_special_tokens=False)


def said(document: Document, tokenizer) -> list[bool]:
    """Of each id of encode(): does the mini say it: an answer with the end of its turn, or anything in a plain text.

    MiniError: the template writes a turn otherwise once others follow it, as Qwen's leaves out earlier scratch work.
    """
    ids = encode(document, tokenizer)
    if not document.messages:
        return [True] * len(ids)
    own = [False] * len(ids)
    for turn, message in enumerate(document.messages):
        if message["role"] == "assistant":
            start = len(encode_prompt(replace(document, messages=document.messages[:turn]), tokenizer))
            answered = replace(document, messages=document.messages[: turn + 1])
            so_far = tokenizer.encode(_chat(answered, tokenizer, False), add_special_tokens=False)
            if ids[: len(so_far)] != so_far:
                raise MiniError(f"turn {turn} is written otherwise in the whole conversation than at its end")
            own[start : len(so_far)] = [True] * (len(so_far) - start)
    return own


def prompt(document: Document, tokenizer) -> str:
    """What a mini is asked: the messages and the head of its answer, or the text as it is.

    For sums document.thinking is the template's enable_thinking. What render() gives for the document together with its
    answer begins with this text, and encode() with its ids.
    """
    return _chat(document, tokenizer, True) if document.messages else document.text


def encode_prompt(document: Document, tokenizer) -> list[int]:
    """The ids of prompt()."""
    return tokenizer.encode(prompt(document, tokenizer), add_special_tokens=False)


def _chat(document: Document, tokenizer, add_generation_prompt: bool) -> str:
    switch: dict[str, Any] = {} if document.thinking is None else {"enable_thinking": document.thinking}
    return tokenizer.apply_chat_template(
        list(document.messages),
        tools=list(document.tools) or None,
        tokenize=False,
        add_generation_prompt=add_generation_prompt,
        **switch,
    )


# Training the vocabulary


def train(texts: Iterable[str] | None = None):
    """The vocabulary, made again, as a tokenizers.Tokenizer: from `texts`, or from the corpus, all kinds evenly.

    The same corpus gives the same file. Ids: special tokens, then the bytes, then merges, the most frequent first.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CUT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        show_progress=False,
        special_tokens=[*CONTROL, *SHOWN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    between = re.compile("|".join(map(re.escape, CONTROL + SHOWN)))  # the trainer would take these apart
    texts = _corpus() if texts is None else texts
    tokenizer.train_from_iterator((piece for text in texts for piece in between.split(text) if piece), trainer)
    made = json.loads(tokenizer.to_str())
    for token in made["added_tokens"]:  # the trainer makes all of them special
        token["special"] = token["content"] in CONTROL
    return Tokenizer.from_str(json.dumps(made))


def _corpus(count: int = 12_000, seed: int = 0) -> Iterator[str]:
    """Documents in the families' templates by turns; in Qwen's what others have no place for."""
    from tokenizers import Tokenizer, models

    families = {family: _dressed(Tokenizer(models.BPE()), family) for family in FAMILIES}
    names = list(FAMILIES)
    for number, document in enumerate(islice(documents(dict.fromkeys(KINDS, 1.0), seed), count)):
        plain = not document.tools and not document.thinking
        yield render(document, families[names[number % len(names)] if plain else "qwen"])


def main() -> None:
    with places.replacing(FILE) as new:
        train().save(str(new))
    print(f"written: {FILE.name}")


if __name__ == "__main__":
    main()
