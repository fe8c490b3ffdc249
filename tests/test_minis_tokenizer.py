"""One vocabulary cuts as Qwen2's does and loses nothing; each family's template writes what is learnt and asked."""

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import jinja2
import pytest
import tokenizers
import transformers
from transformers.models.qwen2.tokenization_qwen2 import Qwen2Tokenizer

from slmlab.minis import MiniError, tokenizer
from slmlab.minis.corpus import Document, documents

ROOT = Path(__file__).resolve().parent.parent
FAMILIES = ["phi", "qwen", "gemma", "bitnet"]
TEXTS = [
    "The spider has 8 legs. It isn't an insect!",
    "  two  spaces,\ttabs \r\n and lines\n\n\n  ends ",
    "Où est l'été? Straße, ¿qué?, perché… “quoted” — 4817 + 30 = 4847",
    '{"name":"set_timer","arguments":{"minutes":12}}',
    "日本 и 🦉 \x00\x7f\u0301é",
]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return tokenizer.load(request.param)


@pytest.fixture(scope="module")
def qwen():
    return tokenizer.load("qwen")


def tool(name: str, **properties) -> dict:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def call(name: str, **arguments) -> dict:
    return {"role": "assistant", "content": "", "tool_calls": [calling(name, **arguments)]}


def calling(name: str, **arguments) -> dict:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def user(content: str) -> dict:
    return {"role": "user", "content": content}


def says(content: str, **more) -> dict:
    return {"role": "assistant", "content": content, **more}


QUESTION = Document(kind="question", domain="animals", messages=(user("How many legs?"), says("Eight legs.")))
SUM = Document(
    kind="sum",
    domain="arithmetic",
    messages=(user("12 + 30?"), says("42", reasoning_content="2 + 0 = 2\n1 + 3 = 4")),
    thinking=True,
)
DIRECT = Document(
    kind="sum", domain="arithmetic", messages=(user("12 + 30?"), says("42", reasoning_content="")), thinking=False
)
TIMER = tool("set_timer", minutes={"type": "integer"})
TOOL = Document(
    kind="tool", domain="tools", messages=(user("Wake me in 5 minutes."), call("set_timer", minutes=5)), tools=(TIMER,)
)
TIMER_JSON = (
    '{"name":"set_timer","parameters":{"type":"object","properties":{"minutes":{"type":"integer"}},'
    '"required":["minutes"]}}'
)


# --- the vocabulary --------------------------------------------------------------------------------------------------


def test_all_families_have_the_same_2048_tokens():
    vocabularies = [tokenizer.load(name).get_vocab() for name in FAMILIES]

    assert len(vocabularies[0]) == 2048
    assert sorted(vocabularies[0].values()) == list(range(2048))
    assert all(vocabulary == vocabularies[0] for vocabulary in vocabularies)


def test_each_special_token_and_each_digit_is_one_token(qwen):
    for token in [*tokenizer.CONTROL, *tokenizer.SHOWN, *"0123456789"]:
        assert qwen.tokenize(f"a{token}b") == ["a", token, "b"]


@pytest.mark.parametrize("text", TEXTS)
def test_no_text_is_lost(family, text):
    ids = family.encode(text)

    assert family.decode(ids) == text
    assert family.decode(ids, skip_special_tokens=True) == text


def test_every_byte_has_a_token(qwen):
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()

    assert len(alphabet) == 256
    assert set(alphabet) <= set(qwen.get_vocab())


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_cut_as_qwen2_cuts_it(qwen, text):
    theirs = Qwen2Tokenizer().backend_tokenizer.pre_tokenizer

    assert qwen.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text) == theirs.pre_tokenize_str(text)


def test_the_tokenizer_adds_nothing_by_itself(family):
    assert family("legs")["input_ids"] == family.encode("legs", add_special_tokens=False)
    assert set(family("legs")) == {"input_ids", "attention_mask"}


def test_control_tokens_are_left_out_of_shown_text_and_parts_of_an_answer_are_not(qwen):
    ids = qwen.encode("<|im_start|>assistant\n<think>\n1\n</think>\n\n<tool_call>{}</tool_call><|im_end|>")

    shown = qwen.decode(ids, skip_special_tokens=True)

    assert shown == "assistant\n<think>\n1\n</think>\n\n<tool_call>{}</tool_call>"


def test_batches_are_padded_on_the_left(family):
    batch = family(["legs", "the legs of it"], padding=True)

    assert batch["input_ids"][0][0] == family.convert_tokens_to_ids("<pad>") == 0
    assert batch["attention_mask"][0][-1] == 1


@pytest.mark.parametrize(
    ("config", "name"),
    [(transformers.Phi3Config(pad_token_id=0), "phi"), (transformers.Qwen3Config(), "qwen"),
     (transformers.Qwen3MoeConfig(), "qwen"), (transformers.Gemma3TextConfig(), "gemma"),
     (transformers.Gemma3nTextConfig(), "gemma"), (transformers.BitNetConfig(), "bitnet")],
)  # fmt: skip
def test_autotokenizer_reads_back_what_was_saved_whatever_the_model(config, name, tmp_path):
    """It has classes of its own for these models, which cut otherwise."""
    ours = tokenizer.load(name)
    ours.save_pretrained(tmp_path)
    config.save_pretrained(tmp_path)

    again = transformers.AutoTokenizer.from_pretrained(tmp_path)

    for text in TEXTS:
        assert again.encode(text) == ours.encode(text)
    assert again.chat_template == ours.chat_template
    assert (again.eos_token, again.bos_token, again.pad_token) == (ours.eos_token, ours.bos_token, "<pad>")
    assert tokenizer.stop_ids(again) == tokenizer.stop_ids(ours)


def test_strangers_are_refused():
    with pytest.raises(MiniError, match="came as 'llama', wanted one of phi, qwen, gemma, bitnet"):
        tokenizer.load("llama")
    stranger = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(tokenizers.models.BPE()), eos_token="</s>"
    )
    with pytest.raises(MiniError, match="eos_token came as '</s>', wanted one of"):
        tokenizer.stop_ids(stranger)


# --- the templates: what stands here was written by hand -------------------------------------------------------------

WRITTEN = {
    ("phi", "question"): "<|user|>How many legs?<|end|><|assistant|>Eight legs.<|end|><|endoftext|>",
    ("phi", "direct"): "<|user|>12 + 30?<|end|><|assistant|>42<|end|><|endoftext|>",
    ("phi", "tool"): f"<|system|><|tool|>[{TIMER_JSON}]<|/tool|><|end|><|user|>Wake me in 5 minutes.<|end|>"
    '<|assistant|><|tool_call|>[{"name":"set_timer","arguments":{"minutes":5}}]<|/tool_call|><|end|><|endoftext|>',
    ("qwen", "question"): "<|im_start|>user\nHow many legs?<|im_end|>\n<|im_start|>assistant\nEight legs.<|im_end|>\n"
    "<|endoftext|>",
    ("qwen", "sum"): "<|im_start|>user\n12 + 30?<|im_end|>\n<|im_start|>assistant\n<think>\n2 + 0 = 2\n1 + 3 = 4\n"
    "</think>\n\n42<|im_end|>\n<|endoftext|>",
    ("qwen", "direct"): "<|im_start|>user\n12 + 30?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n42"
    "<|im_end|>\n<|endoftext|>",
    ("qwen", "tool"): f"<|im_start|>system\n<tools>[{TIMER_JSON}]</tools><|im_end|>\n<|im_start|>user\n"
    "Wake me in 5 minutes.<|im_end|>\n<|im_start|>assistant\n<tool_call>\n"
    '{"name":"set_timer","arguments":{"minutes":5}}\n</tool_call><|im_end|>\n<|endoftext|>',
    ("gemma", "question"): "<bos><start_of_turn>user\nHow many legs?<end_of_turn>\n<start_of_turn>model\n"
    "Eight legs.<end_of_turn>\n<eos>",
    ("gemma", "direct"): "<bos><start_of_turn>user\n12 + 30?<end_of_turn>\n<start_of_turn>model\n"
    "42<end_of_turn>\n<eos>",
    ("bitnet", "question"): "<|begin_of_text|>User:\nHow many legs?<|eot_id|>Assistant:\nEight legs.<|eot_id|>"
    "<|end_of_text|>",
    ("bitnet", "direct"): "<|begin_of_text|>User:\n12 + 30?<|eot_id|>Assistant:\n42<|eot_id|><|end_of_text|>",
}  # fmt: skip
DOCUMENTS = {"question": QUESTION, "sum": SUM, "direct": DIRECT, "tool": TOOL}


@pytest.mark.parametrize(("name", "what"), WRITTEN)
def test_a_document_is_written_in_its_family_s_manner(name, what):
    words = tokenizer.load(name)

    assert tokenizer.render(DOCUMENTS[what], words) == WRITTEN[name, what]
    assert words.decode(tokenizer.encode(DOCUMENTS[what], words)) == WRITTEN[name, what]


def test_plain_text_is_followed_by_the_family_s_end_of_text():
    text = Document(kind="lesson", domain="animals", text="# The owl\n\nIt flies.")

    assert {name: tokenizer.render(text, tokenizer.load(name)) for name in FAMILIES} == {
        "phi": "# The owl\n\nIt flies.<|endoftext|>",
        "qwen": "# The owl\n\nIt flies.<|endoftext|>",
        "gemma": "# The owl\n\nIt flies.<eos>",
        "bitnet": "# The owl\n\nIt flies.<|end_of_text|>",
    }


@pytest.mark.parametrize(("name", "what"), WRITTEN)
def test_a_prompt_is_what_was_learnt_up_to_the_answer(name, what):
    words, document = tokenizer.load(name), DOCUMENTS[what]
    asked = Document(document.kind, document.domain, "", document.messages[:1], document.tools, document.thinking)

    prompt = tokenizer.encode_prompt(asked, words)

    answer = words.decode(tokenizer.encode(document, words)[len(prompt) :])
    assert tokenizer.encode(document, words)[: len(prompt)] == prompt
    assert answer.startswith(("Eight", "42", "<think>\n2 + 0", "<tool_call>", "<|tool_call|>"))


@pytest.mark.parametrize(("name", "answer"), [("gemma", "Eight 8.<end_of_turn>\n"), ("phi", "Eight 8.<|end|>")])
def test_a_mini_says_its_answers_and_the_ends_of_their_turns(name, answer):
    words = tokenizer.load(name)
    document = Document(
        kind="question",
        domain="animals",
        messages=(user("How many?"), says("Eight 8."), user("How many?"), says("Eight 8.")),
    )
    said = tokenizer.said(document, words)
    runs, before = [], False
    for id, mine in zip(tokenizer.encode(document, words), said, strict=True):
        if mine and not before:
            runs.append([])
        if mine:
            runs[-1].append(id)
        before = mine
    assert [words.decode(run) for run in runs] == [answer] * 2 and not said[-1]  # the end of the text is nobody's


def test_a_plain_text_is_all_the_mini_s_and_scratch_work_that_is_left_out_later_is_refused(qwen):
    story = Document(kind="story", domain="stories", text="A dog.")
    assert tokenizer.said(story, qwen) == [True] * len(tokenizer.encode(story, qwen))
    thought = says("72", reasoning_content="42+30")
    twice = Document(kind="sum", domain="arithmetic", messages=(user("42+30?"), thought, user("And 42+30?"), thought))
    with pytest.raises(MiniError, match="turn 1 is written otherwise"):
        tokenizer.said(twice, qwen)


def test_thinking_is_the_model_s_own_choice_unless_it_is_switched_off(qwen):
    def prompt(**switch):
        return qwen.apply_chat_template([user("12 + 30?")], tokenize=False, add_generation_prompt=True, **switch)

    open_ended = "<|im_start|>user\n12 + 30?<|im_end|>\n<|im_start|>assistant\n"
    assert prompt() == prompt(enable_thinking=True) == open_ended
    assert prompt(enable_thinking=False) == open_ended + "<think>\n\n</think>\n\n"


def test_scratch_work_of_earlier_turns_is_left_out(qwen):
    rows = [user("1 + 1?"), says("2", reasoning_content="1 + 1 = 2"), user("And 2 + 2?")]

    text = qwen.apply_chat_template(rows, tokenize=False, add_generation_prompt=True)

    assert text == (
        "<|im_start|>user\n1 + 1?<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n"
        "<|im_start|>user\nAnd 2 + 2?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_end_of_thinking_closes_what_was_cut_short(qwen):
    cut = tokenizer.prompt(Document("sum", "arithmetic", messages=SUM.messages[:1], thinking=True), qwen)

    assert tokenizer.render(SUM, qwen) == cut + "<think>\n2 + 0 = 2\n1 + 3 = 4" + tokenizer.THINK_END + (
        "42<|im_end|>\n<|endoftext|>"
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("phi", '<|system|>Be brief.<|tool|>[$a,$b]<|/tool|><|end|><|user|>Both!<|end|><|assistant|>Yes.<|tool_call|>['
         '{"name":"a","arguments":{"x":1}},{"name":"b","arguments":{"y":"\\"é, <b>\\""}}]<|/tool_call|><|end|>'
         "<|tool_response|>done<|end|><|assistant|>"),
        ("qwen", "<|im_start|>system\nBe brief.\n<tools>[$a,$b]</tools><|im_end|>\n<|im_start|>user\nBoth!<|im_end|>\n"
         '<|im_start|>assistant\nYes.\n<tool_call>\n{"name":"a","arguments":{"x":1}}\n</tool_call>\n<tool_call>\n'
         '{"name":"b","arguments":{"y":"\\"é, <b>\\""}}\n</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>done'
         "</tool_response><|im_end|>\n<|im_start|>assistant\n"),
    ],
)  # fmt: skip
def test_several_tools_calls_and_their_results(name, expected):
    tools = [tool("a", x={"type": "integer"}), tool("b", y={"type": "string"})]
    for mark, one in zip(("$a", "$b"), tools, strict=True):
        expected = expected.replace(mark, json.dumps(one["function"], separators=(",", ":")))
    rows = [
        {"role": "system", "content": "Be brief."},
        user("Both!"),
        says("Yes.", tool_calls=[calling("a", x=1), calling("b", y='"é, <b>"')]),
        {"role": "tool", "content": "done"},
    ]

    text = tokenizer.load(name).apply_chat_template(rows, tools=tools, tokenize=False, add_generation_prompt=True)

    assert text == expected


def test_what_gemma_and_bitnet_say_to_a_system_message():
    rows = [{"role": "system", "content": "Be brief."}, user("Why?")]

    texts = [tokenizer.load(name).apply_chat_template(rows, tokenize=False) for name in ("gemma", "bitnet")]

    assert texts == [
        "<bos><start_of_turn>user\nBe brief.\n\nWhy?<end_of_turn>\n",
        "<|begin_of_text|>System:\nBe brief.<|eot_id|>User:\nWhy?<|eot_id|>",
    ]


@pytest.mark.parametrize(
    ("name", "document", "message"),
    [
        ("phi", SUM, "no place for reasoning_content"),
        ("gemma", SUM, "no place for reasoning_content"),
        ("bitnet", SUM, "no place for reasoning_content"),
        ("gemma", TOOL, "no place for tools"),
        ("bitnet", TOOL, "no place for tools"),
        *[
            (name, Document("question", "x", messages=({"role": "judge", "content": "No."},)), "role came as judge")
            for name in FAMILIES
        ],
    ],
)
def test_what_a_family_has_no_words_for_is_refused_and_not_left_out(name, document, message):
    with pytest.raises(jinja2.TemplateError, match=message):
        tokenizer.render(document, tokenizer.load(name))


# --- the corpus ------------------------------------------------------------------------------------------------------


def test_every_recipe_s_documents_can_be_written_and_asked(qwen):
    from slmlab.minis.recipes import RECIPES

    for recipe in RECIPES.values():
        words = tokenizer.load(recipe.family)
        for document in islice(documents(recipe.mixture, seed=3), 100):
            ids = tokenizer.encode(document, words)
            assert words.decode(ids) == tokenizer.render(document, words)
            if document.messages:
                asked = Document(
                    document.kind, document.domain, "", document.messages[:-1], document.tools, document.thinking
                )
                prompt = tokenizer.encode_prompt(asked, words)
                assert ids[: len(prompt)] == prompt
            assert len(ids) <= recipe.sequence


def test_the_vocabulary_can_be_made_again(tmp_path):
    """In another process, with other hashes and more threads."""
    code = f"from slmlab.minis import tokenizer; tokenizer.train().save({str(tmp_path / 'again.json')!r})"
    environment = os.environ | {"PYTHONHASHSEED": "7", "RAYON_NUM_THREADS": "3", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)

    assert (tmp_path / "again.json").read_bytes() == tokenizer.FILE.read_bytes()
