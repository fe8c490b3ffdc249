import dataclasses
import inspect
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from wrong_answers import WRONG_ANSWERS

from slmlab import exercises, records
from slmlab.exercises import Exercise, ExerciseFailed, UnknownExercise, answer, check, exercise
from slmlab.exercises.check import difference, is_stub
from slmlab.exercises.start import kv_cache_bytes, parameter_count

ROOT = Path(__file__).resolve().parent.parent
REGISTERED = list(exercises.registered().values())


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Records in a folder of the test; nothing of the surroundings changes the seed or the mode."""
    monkeypatch.setenv("SLMLAB_RECORDS", str(tmp_path))
    for name in ("SLMLAB_STRICT", "SLMLAB_SEED", "SLMLAB_LAB"):
        monkeypatch.delenv(name, raising=False)


def total(values):
    return sum(values)


def make(reference=total, cases=lambda rng: [([1],), ([1, 2],), ([3, 4, 5],)], **other):
    return Exercise("sum-of-list", reference, cases, hint="Start from 0.", lines=3, **other)


@pytest.fixture
def register(monkeypatch):
    """Put exercises of a test into the part `phi`."""
    return lambda *tasks: monkeypatch.setattr("slmlab.exercises.phi.EXERCISES", tasks)


# ------------------------------------------------------------------------------------------ every registered exercise


@pytest.mark.parametrize("task", REGISTERED, ids=lambda task: task.id)
def test_the_reference_passes_its_own_check(task):
    assert check.attempt(task, task.reference).status == "passes"


@pytest.mark.parametrize("task", REGISTERED, ids=lambda task: task.id)
def test_a_stub_of_the_reference_is_not_attempted(task):
    names = {}
    exec(f'def stub({", ".join(inspect.signature(task.reference).parameters)}):\n    """Contract."""\n    ...', names)
    assert check.attempt(task, names["stub"]).status == "not attempted"


@pytest.mark.parametrize("task", REGISTERED, ids=lambda task: task.id)
def test_an_answer_of_none_fails(task):
    def nothing(*arguments):
        result = None
        return result

    assert check.attempt(task, nothing).status == "not yet"


@pytest.mark.parametrize("task", REGISTERED, ids=lambda task: task.id)
def test_an_exercise_has_two_planted_wrong_answers_with_the_parameters_of_its_reference(task):
    wrong = WRONG_ANSWERS.get(task.id, [])
    assert len(wrong) >= 2, f"plant at least two wrong answers for {task.id!r} in tests/wrong_answers.py"
    for function in wrong:
        assert list(inspect.signature(function).parameters) == list(inspect.signature(task.reference).parameters)


@pytest.mark.parametrize(
    ("task", "wrong"),
    [(task, wrong) for task in REGISTERED for wrong in WRONG_ANSWERS.get(task.id, [])],
    ids=lambda thing: getattr(thing, "id", None) or thing.__name__,
)
def test_a_planted_wrong_answer_fails_with_a_wrong_value(task, wrong):
    result = check.attempt(task, wrong)
    assert result.status == "not yet", str(result)
    assert dict(result.facts)["hint"] == task.hint


def test_planted_wrong_answers_belong_to_registered_exercises():
    assert set(WRONG_ANSWERS) <= {task.id for task in REGISTERED}


@pytest.mark.parametrize("task", REGISTERED, ids=lambda task: task.id)
def test_an_id_is_words_with_hyphens_and_the_reference_tells_its_contract(task):
    assert all(word.isalnum() and word == word.lower() for word in task.id.split("-"))
    assert task.reference.__doc__ and task.hint.endswith(".") and task.lines > 0


@pytest.mark.parametrize("seed", ["0", "1", "2", "3"])
@pytest.mark.parametrize("task", REGISTERED, ids=lambda task: task.id)
def test_wrong_answers_fail_and_the_reference_passes_whatever_the_seed(task, seed, monkeypatch):
    monkeypatch.setenv("SLMLAB_SEED", seed)
    assert check.attempt(task, task.reference).status == "passes"
    assert {check.attempt(task, wrong).status for wrong in WRONG_ANSWERS[task.id]} == {"not yet"}


# ------------------------------------------------------------------------------------------------------ lab 01, values


def test_kv_cache_bytes_agrees_with_counting_every_number():
    def count(num_key_value_heads, head_dim, windows, tokens, value_bits):
        stored = 0
        for window in windows:
            positions = list(range(tokens)) if window is None else list(range(tokens))[-window:]
            stored += len([(p, h, d, kv) for p in positions for h in range(num_key_value_heads)
                           for d in range(head_dim) for kv in "kv"])  # fmt: skip
        return stored * value_bits / 8

    for case in [(2, 4, [None, 3, 9], 7, 16), (1, 2, [1], 3, 4), (3, 2, [None], 1, 8), (1, 8, [4, None], 4, 32)]:
        assert kv_cache_bytes(*case) == count(*case)


def test_kv_cache_of_phi_4_mini_is_128_kib_a_token():
    # config.json of Phi-4-mini: 32 layers, 8 key-value heads of width 128, full attention; 16-bit values
    assert kv_cache_bytes(8, 128, [None] * 32, 1, 16) == 128 * 1024


@pytest.mark.parametrize(
    ("published", "vocab", "hidden", "intermediate", "layers", "heads", "kv_heads", "head_dim", "tied"),
    [
        (134_515_008, 49_152, 576, 1_536, 30, 9, 3, 64, True),  # SmolLM2-135M: its safetensors index
        (3_836_021_760, 200_064, 3_072, 8_192, 32, 24, 8, 128, True),  # Phi-4-mini: its model card's 3.8 B
        (1_100_048_384, 32_000, 2_048, 5_632, 22, 32, 4, 64, False),  # TinyLlama-1.1B: its safetensors index
    ],
)
def test_parameter_count_of_published_models(
    published, vocab, hidden, intermediate, layers, heads, kv_heads, head_dim, tied
):
    config = {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "tie_word_embeddings": tied,
    }
    assert parameter_count(config) == published


# ------------------------------------------------------------------------------------------------- on definition


def test_an_unsolved_exercise_runs_on_the_reference_and_says_so(register, capsys):
    register(make())

    @exercise("sum-of-list")
    def add(values: list[int]) -> int:
        """Sum."""
        ...

    assert add([2, 3]) == 5
    assert add.status == "not attempted" and add.student([2, 3]) is None
    assert add.__name__ == "add" and add.__doc__ == "Sum."
    shown = capsys.readouterr().out
    assert shown.startswith("sum-of-list: not attempted. ") and "Later cells run on the reference" in shown
    assert records.read("exercise")["sum-of-list"]["status"] == "not attempted"


def test_a_right_function_is_what_later_cells_call(register, capsys):
    register(make())
    calls = []

    @exercise("sum-of-list")
    def add(values):
        calls.append(1)
        return sum(values)

    calls.clear()
    assert add(values=[2, 3]) == 5 and calls == [1]
    assert add.status == "passes"
    assert capsys.readouterr().out.startswith("sum-of-list: passes. 3 cases agree")


def test_a_wrong_function_shows_the_smallest_failing_case_and_the_reference_steps_in(register, capsys):
    register(make())

    @exercise("sum-of-list")
    def add(values):
        return values[0]

    assert add([2, 3]) == 5 and add.student([2, 3]) == 2 and add.status == "not yet"
    assert dict(add.result.facts) == {
        "input": "add(values=[1, 2])",
        "yours": "1",
        "expected": "3",
        "hint": "Start from 0.",
    }
    assert "    expected  3\n" in capsys.readouterr().out


def test_the_first_difference_is_shown_where_the_values_alone_do_not_tell_it():
    task = make(reference=sorted, cases=lambda rng: [([3, 1, 2],)])
    facts = dict(check.attempt(task, lambda values: [1, 2, 4]).facts)
    assert (facts["yours"], facts["expected"]) == ("[1, 2, 4]", "[1, 2, 3]")
    assert facts["differs"] == "at [2]: 4, wanted 3"


def test_an_error_shows_type_message_line_and_input(register, capsys):
    register(make())

    @exercise("sum-of-list")
    def add(values):
        inner = [1][len(values) - 1]
        return inner

    facts = dict(add.result.facts)
    assert add.status == "error" and add([2, 3]) == 5
    assert facts["error"] == "IndexError: list index out of range"
    assert facts["input"] == "add(values=[1, 2])"
    assert facts["line"].endswith(": inner = [1][len(values) - 1]")
    assert int(facts["line"].split(":")[0]) == inspect.getsourcelines(add.student)[1] + 2
    assert "IndexError" in capsys.readouterr().out


def test_a_function_with_other_parameters_is_an_error_not_a_crash(register):
    register(make())

    @exercise("sum-of-list")
    def add():
        return 1

    assert add.status == "error" and "takes 0 positional arguments" in dict(add.result.facts)["error"]


def test_exit_inside_a_function_is_an_error_not_the_end(register):
    register(make())

    @exercise("sum-of-list")
    def add(values):
        sys.exit(3)

    assert add.status == "error" and add([2, 3]) == 5


def test_ctrl_c_during_a_check_gets_through(register):
    register(make())

    def interrupted(values):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exercise("sum-of-list")(interrupted)


def test_a_second_definition_replaces_the_status(register):
    register(make())
    for function, status in [(max, "not yet"), (sum, "passes"), (min, "not yet")]:
        assert exercise("sum-of-list")(function).status == status
        assert records.read("exercise")["sum-of-list"]["status"] == status


@pytest.mark.parametrize("before", [None, "an older definition"])
def test_a_recursive_function_finds_itself_while_it_is_checked(register, before):
    register(make())
    cell = 'def add(values):\n    return values[0] + add(values[1:]) if values else 0\n'  # fmt: skip
    names = {} if before is None else {"add": before}
    exec(cell, names)
    function = names.pop("add")
    if before is not None:
        names["add"] = before
    names_before = dict(names)

    assert exercise("sum-of-list")(function).status == "passes"
    assert names == names_before


def test_what_a_function_prints_is_shown_for_the_failing_case_only(register, capsys):
    register(make())

    @exercise("sum-of-list")
    def add(values):
        print("I see", len(values))
        return values[0]

    assert dict(add.result.facts)["printed"] == "I see 2"
    assert "I see 1" not in capsys.readouterr().out


def test_a_function_cannot_change_what_the_reference_sees_and_is_told(register):
    register(make(cases=lambda rng: [([1],), ([3, 4],)]))

    @exercise("sum-of-list")
    def add(values):
        result = 0
        while values:
            result += values.pop()
        return result

    facts = dict(add.result.facts)
    assert add.status == "not yet" and "yours" not in facts
    assert facts["changed"].startswith("your function changed its argument values (0 elements, wanted 1)")


def test_changing_an_array_in_place_is_told(register):
    register(make(reference=lambda x: x * 2, cases=lambda rng: [(np.ones(3),)]))

    @exercise("sum-of-list")
    def double(x):
        x *= 2
        return x

    assert "changed its argument x (at [0]: 2.0, wanted 1.0" in dict(double.result.facts)["changed"]


def test_cases_are_not_shared_between_two_checks(register):
    case = [([3, 1, 2],)]
    task = make(reference=lambda values: [values.pop()], cases=lambda rng: case)
    assert check.attempt(task, lambda values: [values[-1]]).status == "passes"
    assert case == [([3, 1, 2],)]


def test_an_exercise_without_cases_is_the_authors_error():
    with pytest.raises(ValueError, match="'sum-of-list' has no cases"):
        check.attempt(make(cases=lambda rng: []), total)


# --------------------------------------------------------------------------------------------------- strict, seed, ids


@pytest.mark.parametrize("body", ["...", "return 7", "return values / 0"])
def test_strict_raises_whatever_does_not_pass(register, monkeypatch, body):
    register(make())
    monkeypatch.setenv("SLMLAB_STRICT", "1")
    names = {}
    exec(f'def add(values):\n    """Sum."""\n    {body}\n', names)
    with pytest.raises(ExerciseFailed, match="sum-of-list: "):
        exercise("sum-of-list")(names["add"])
    assert records.read("exercise")["sum-of-list"]["status"] != "passes"


def test_strict_lets_a_right_function_pass(register, monkeypatch):
    register(make())
    monkeypatch.setenv("SLMLAB_STRICT", "1")
    assert exercise("sum-of-list")(lambda values: sum(values)).status == "passes"


def test_the_message_holds_still_until_the_seed_changes(register, monkeypatch):
    task = make(cases=lambda rng: [(rng.integers(0, 1000, size=4).tolist(),)])
    first, second = (check.attempt(task, lambda values: -1).facts for _ in range(2))
    monkeypatch.setenv("SLMLAB_SEED", "1")
    third = check.attempt(task, lambda values: -1).facts
    assert first == second != third
    other = dataclasses.replace(task, id="another-sum")
    assert check.attempt(other, lambda values: -1).facts != third


def test_a_seed_that_is_no_number_is_refused(monkeypatch):
    monkeypatch.setenv("SLMLAB_SEED", "lucky")
    with pytest.raises(ValueError, match="SLMLAB_SEED is 'lucky'"):
        check.attempt(make(), total)


def test_an_unknown_id_names_near_ones():
    with pytest.raises(UnknownExercise, match=r"no exercise 'kv-cache-byte': did you mean kv-cache-bytes"):
        exercise("kv-cache-byte")


def test_an_id_registered_twice_is_refused(register):
    register(make(), make())
    with pytest.raises(ValueError, match=r"'sum-of-list' is registered twice, the second time in phi\.py"):
        exercises.registered()


def test_something_that_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="wanted a function"):
        exercise("kv-cache-bytes")(3)


# --------------------------------------------------------------------------------------------------------------- stubs

STUBS = [
    'def f(x):\n    """Doc."""\n    ...',
    "def f(x): ...",
    'def f(x: "array", *, bits: int = 8) -> int:\n    """Doc.\n\n        indented\n    """\n    # a comment\n    ...\n',
    "def f(x):\n    r'''raw \\n and \"quotes\"'''\n    ...",
    'def f(x):\n    """Doc."""\n    pass',
]
ATTEMPTS = [
    'def f(x):\n    """Doc."""\n    return x',
    'def f(x):\n    """Doc."""\n    return 5',
    "def f(x): return 5",
    "def f(x): return ...",
    'def f(x):\n    """Doc."""\n    x = ...',
    'def f(x):\n    """Doc."""\n    raise NotImplementedError',
    'def f(x):\n    """Doc."""\n    yield x',
    'def f(x):\n    """Doc."""\n    return f.__doc__',
    'async def f(x):\n    """Doc."""\n    ...',
    'def f(x):\n    return """Doc."""',
]


@pytest.mark.parametrize("source", STUBS)
def test_a_docstring_and_dots_are_a_stub(source):
    names = {}
    exec(source, names)
    assert is_stub(names["f"])


@pytest.mark.parametrize("source", ATTEMPTS)
def test_any_other_body_is_an_attempt(source):
    names = {}
    exec(source, names)
    assert not is_stub(names["f"])


def test_a_callable_without_code_is_an_attempt():
    assert not is_stub(len)


# ---------------------------------------------------------------------------------------------------------- comparing


@dataclasses.dataclass(frozen=True)
class Pair:
    what: str
    bytes: int


SAME = [
    (None, None),
    (True, True),
    (3, 3),
    (np.int64(3), 3),
    (np.float32(0.5), 0.5),
    (float("nan"), float("nan")),
    (float("inf"), float("inf")),
    ("a", "a"),
    ([1, (2.0, "x")], [1, (2.0, "x")]),
    ({"a": 1, "b": [2]}, {"b": [2], "a": 1}),
    (np.array([1, 2], np.int32), np.array([1, 2], np.int64)),
    (np.array([1.0, np.nan, np.inf], np.float32), np.array([1.0, np.nan, np.inf])),
    (np.zeros((0, 3)), np.zeros((0, 3))),
    (np.array(["a"]), np.array(["a"])),
    (Pair("x", 1), Pair("x", 1)),
]
DIFFERENT = [
    (None, 3, "type NoneType, wanted int"),
    (True, 1, "type bool, wanted int"),
    (3.0, 3, "type float, wanted int"),
    (3, 3.0, "type int, wanted float"),
    (float("nan"), 1.0, "nan, wanted 1.0"),
    (1.0, float("nan"), "1.0, wanted nan"),
    (1e300, float("inf"), "1e+300, wanted inf"),
    (float("-inf"), float("inf"), "-inf, wanted inf"),
    ("a", "b", "'a', wanted 'b'"),
    ((1, 2), [1, 2], "type tuple, wanted list"),
    ([1], [1, 2], "1 elements, wanted 2"),
    ([1, 2, 3], [1, 2, 4], "at [2]: 3, wanted 4"),
    ({"a": 1}, {"a": 1, "b": 2}, "key 'b' is missing"),
    ({"a": 1, "c": 2}, {"a": 1}, "key 'c' is not wanted"),
    ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, "at ['a'][1]['b']: 2, wanted 3"),
    ([1, 2], np.array([1, 2]), "type list, wanted ndarray"),
    (np.zeros(3), np.zeros(4), "shape (3,), wanted (4,)"),
    (np.zeros(4), np.zeros(3, np.int8), "dtype float64, wanted int8"),
    (np.zeros(4, np.int8), np.zeros(4, np.uint8), "dtype int8, wanted uint8"),
    (np.array([[1, 2], [3, 5]]), np.array([[1, 2], [3, 4]]), "at [1, 1]: 5, wanted 4 (1 of 4 elements differ)"),
    (np.array([1.0, np.nan]), np.array([1.0, 2.0]), "at [1]: nan, wanted 2.0 (1 of 2 elements differ)"),
    (np.array(3.0), 3.0, "type ndarray, wanted float"),
    ([np.zeros(2)], [np.zeros(3)], "at [0]: shape (2,), wanted (3,)"),
    (Pair("x", 1), Pair("x", 2), "at .bytes: 1, wanted 2"),
]


@pytest.mark.parametrize(("got", "wanted"), SAME, ids=repr)
def test_same_values_agree(got, wanted):
    assert difference(got, wanted) is None


@pytest.mark.parametrize(("got", "wanted", "words"), DIFFERENT, ids=repr)
def test_the_first_difference_is_told(got, wanted, words):
    assert difference(got, wanted) == words


@pytest.mark.parametrize("wrap", [float, np.float32, lambda x: np.array([x]), lambda x: [x], lambda x: {"k": x}])
def test_tolerances_bound_the_difference_of_floats(wrap):
    assert difference(wrap(100.9), wrap(100.0), rtol=0.01) is None
    assert difference(wrap(101.1), wrap(100.0), rtol=0.01) is not None
    assert difference(wrap(0.09), wrap(0.0), atol=0.1) is None
    assert difference(wrap(0.11), wrap(0.0), atol=0.1) is not None
    assert difference(wrap(-100.0), wrap(100.0), rtol=0.01) is not None


def test_tolerances_do_not_soften_integers():
    assert difference(101, 100, rtol=0.5) == "101, wanted 100"
    assert difference(np.array([101]), np.array([100]), rtol=0.5) is not None


def test_a_type_that_is_not_compared_is_the_authors_error():
    with pytest.raises(TypeError, match="cannot compare values of type set"):
        difference({1}, {1})


def test_a_dict_is_shown_in_its_own_order():
    assert check.short({"b": 1, "a": [2, {"c": 3}]}) == "{'b': 1, 'a': [2, {'c': 3}]}"
    assert check.short(dict.fromkeys("abcdefghijklmn", 0)).endswith("'l': 0, ...}")


def test_long_values_are_cut():
    for value in (list(range(10_000)), np.zeros((100, 100)), "x" * 10_000, {n: n for n in range(1000)}, 10**400):
        assert len(check.short(value)) < 1000


# -------------------------------------------------------------------------------------------------------------- display


class Text(HTMLParser):
    """The text of well-formed HTML."""

    def __init__(self, html):
        super().__init__()
        self.open, self.text = [], ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_html_says_in_words_what_the_text_says_and_escapes_values():
    task = make(reference=lambda values: "<b>&</b>", cases=lambda rng: [(["<script>"],)])
    result = check.attempt(task, lambda values: "<i>")
    page = Text(result._repr_html_()).text
    for label, text in result.facts:
        assert label in page and text in page and text in str(result)
    assert "not yet" in page and result.summary in page
    assert "<script>" not in result._repr_html_()


def test_each_status_has_its_own_symbol_beside_its_word():
    pages = {
        s: Text(check.Result("x", s, "S")._repr_html_()).text for s in ("not attempted", "not yet", "error", "passes")
    }
    symbols = {page.split()[0] for page in pages.values()}
    assert len(symbols) == 4
    assert all(status in page for status, page in pages.items())


def test_a_notebook_gets_html_with_a_text_fallback():
    # in a process of its own: an IPython shell takes over more of Python than a test should give
    code = """
import json
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

cell = '''from slmlab.exercises import answer, exercise
@exercise("kv-cache-bytes")
def kv_cache_bytes(*numbers):
    x = 1
    return x / 0
answer("share", default=0.5);'''
shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
with capture_output() as captured:
    shell.run_cell(cell)
print(json.dumps([output.data for output in captured.outputs]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    result, line = json.loads(done.stdout)
    assert "ZeroDivisionError" in result["text/html"] and "5: return x / 0" in result["text/plain"]
    assert line["text/plain"].startswith("share: no answer yet, so 0.5 stands in.")


# -------------------------------------------------------------------------------------------------------------- answers


def test_until_a_guess_is_typed_the_default_stands_in(capsys):
    assert answer("zero-share", default=0.25) == 0.25
    assert "no answer yet, so 0.25 stands in" in capsys.readouterr().out
    entry = records.read("answer")["zero-share"]
    assert (entry["value"], entry["default"], entry["given"]) == (0.25, 0.25, False)


@pytest.mark.parametrize(
    ("value", "default", "used"),
    [(0.4, 0.25, 0.4), (1, 0.25, 1.0), (np.float64(0.4), 0.25, 0.4), (3, 7, 3), (0, 7, 0), ("Qwen", "Phi", "Qwen"),
     (False, True, False), (np.int64(3), 7, 3)],
)  # fmt: skip
def test_a_guess_replaces_the_default_and_is_kept(value, default, used, capsys):
    got = answer("guess", value, default=default)
    assert got == used and type(got) is type(default)
    assert capsys.readouterr().out == f"guess: your answer is {used!r}.\n"
    assert records.read("answer")["guess"]["value"] == used and records.read("answer")["guess"]["given"]


@pytest.mark.parametrize(
    ("value", "default", "error", "words"),
    [
        ("half", 0.5, TypeError, r"answer 'guess': got 'half' \(str\), wanted float such as 0.5"),
        (0.5, 3, TypeError, "wanted int such as 3"),
        (True, 3, TypeError, "wanted int such as 3"),
        (True, 0.5, TypeError, "wanted float"),
        (3, "Phi", TypeError, "wanted str such as 'Phi'"),
        (..., 0.5, TypeError, "got Ellipsis"),
        (float("nan"), 0.5, ValueError, "wanted a finite number"),
        (float("inf"), 0.5, ValueError, "wanted a finite number"),
        (None, [1], TypeError, "list"),
        (None, float("nan"), ValueError, "finite"),
    ],
)
def test_a_guess_of_another_type_is_refused_and_nothing_is_kept(value, default, error, words):
    with pytest.raises(error, match=words):
        answer("guess", value, default=default)
    assert records.read("answer") == {}


def test_a_bad_answer_id_is_refused():
    with pytest.raises(ValueError, match="record id 'zero share'"):
        answer("zero share", default=0.5)


def test_compare_draws_the_guess_into_the_bars():
    bars = {"codes": 2.0, "base 3": 1.6}
    with_guess = exercises.compare("bits per weight", bars, your_guess=1.875, unit="bit")
    assert list(with_guess.data[0].x) == [2.0, 1.6]
    assert "1.875" in with_guess.to_json() and "1.875" not in exercises.compare("bits per weight", bars).to_json()


# -------------------------------------------------------------------------------------------------------------- imports


def test_importing_exercises_loads_no_part_and_nothing_heavy():
    code = (
        "import sys, slmlab.exercises; "
        "print([m for m in ('torch', 'plotly', 'IPython', 'slmlab.exercises.start') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "[]"
