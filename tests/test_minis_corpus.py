"""The corpus: true, the same everywhere, split as it says, and noisy as it says."""

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from itertools import islice

import pytest

from slmlab.minis import MiniError
from slmlab.minis.corpus import KINDS, documents, exams, fingerprint, lessons, noise, noisy, parallel, tables, wordings
from slmlab.minis.corpus.facts import FACTS

COUNT = 20_000
WORDS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def of_kind(kind, count, split="train", seed=0):
    return list(islice(documents({kind: 1.0}, seed, split), count))


def sentences(text):
    """The sentences of a text, without a language's tag, and those that are quoted by themselves."""
    found = re.split(r"(?:(?<=[.!?])|(?<=[.!?]\"))\s+(?=[^\Wa-z]|\")|\n+", text)
    untagged = {re.sub(r"^(en|de|fr|es|it): ", "", sentence) for sentence in found}
    return untagged | set(re.findall(r'"([A-Z][^"]+\.)" in ', text))


def told(docs):
    return {sentence for document in docs for passage in document.passages for sentence in sentences(passage)}


# ------------------------------------------------------------------------------------------------------------------
# The same everywhere


def test_two_processes_with_different_hash_seeds_make_the_same_text():
    code = "from slmlab.minis.corpus import fingerprint; print(fingerprint())"
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            encoding="utf-8",
            check=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    ]

    assert found == [fingerprint()] * 2


def test_a_run_goes_on_at_a_documents_number():
    mixture = {"story": 1.0, "sum": 2.0}

    whole = list(islice(documents(mixture, 3), 30))

    assert list(islice(documents(mixture, 3, start=20), 10)) == whole[20:]


def test_the_order_of_a_mixture_does_not_matter():
    one, other = {"story": 1.0, "sum": 2.0}, {"sum": 2.0, "story": 1.0}

    assert list(islice(documents(one, 3), 30)) == list(islice(documents(other, 3), 30))


def test_kinds_come_in_the_shares_of_the_mixture():
    mixture = {"lesson": 5, "sum": 2, "sum-direct": 1, "tool": 2}

    found = Counter(
        "sum-direct" if document.thinking is False else document.kind
        for document in islice(documents(mixture, 1), 8000)
    )

    assert {kind: found[kind] / 8000 for kind in mixture} == pytest.approx(
        {k: v / 10 for k, v in mixture.items()}, abs=0.02
    )


@pytest.mark.parametrize(
    "mixture", [{}, {"lesson": 0}, {"lesson": -1, "sum": 2}, {"novel": 1}, {"lesson": float("nan")}]
)
def test_a_mixture_that_is_none_is_refused(mixture):
    with pytest.raises(MiniError, match="mixture"):
        documents(mixture, 0)


def test_an_unknown_split_is_refused():
    with pytest.raises(MiniError, match="split"):
        documents({"lesson": 1}, 0, "test")


# ------------------------------------------------------------------------------------------------------------------
# Split


@pytest.mark.parametrize("kind", ["lesson", "story", "parallel"])
def test_held_out_documents_share_no_sentence_with_training(kind):
    held_out = told(exams.held_out(kind, 100, 0))

    assert not told(of_kind(kind, 3000)) & held_out
    assert len(held_out) > 100


def test_new_wordings_never_stand_beside_their_fact_in_training_and_are_seen_beside_others():
    asked = {document.messages[0]["content"] for document in exams.facts("new", 2 * len(FACTS), 0)}
    trained = of_kind("question", COUNT)
    questions = {row["content"] for document in trained for row in document.messages if row["role"] == "user"}

    assert not asked & questions
    assert {document.messages[0]["content"] for document in exams.facts("seen", 400, 0)} <= questions


def test_sums_of_exams_are_no_question_and_no_line_of_training():
    lines = set()
    for document in of_kind("sum", COUNT):
        question, answer = document.messages
        lines |= {re.sub(r"[^\d+-]", "", question["content"]), *answer["reasoning_content"].splitlines()}

    for terms in (2, 3, 4):
        asked = {re.sub(r"[^\d+-]", "", d.messages[0]["content"]) for d in exams.sums(terms, True, 300, 0)}
        assert len(asked) == 300
        assert not asked & lines


def test_calls_of_exams_are_never_made_in_training():
    made = {
        json.dumps(row["tool_calls"][0]["function"], separators=(",", ":"))
        for document in of_kind("tool", COUNT // 2)
        for row in document.messages[1::2]
    }

    assert not {document.answer for document in exams.tool_calls(300, 0)} & made


def test_codes_and_filler_of_exams_are_never_told_in_training():
    known = told(of_kind("needle", 2000))
    asked = told(exams.needles(100, 50, 0))

    assert not {sentence for sentence in asked if not sentence.endswith("?")} & known


# ------------------------------------------------------------------------------------------------------------------
# Right


def test_there_are_120_to_200_facts_and_no_two_for_one_subject_and_relation():
    assert 120 <= len(FACTS) <= 200
    assert len({(fact.subject, fact.relation) for fact in FACTS}) == len(FACTS)


@pytest.mark.parametrize(
    "question, answer",
    [
        ("How many legs does a spider have?", "A spider has eight legs."),
        ("How many legs does a snake have?", "A snake has no legs."),
        ("What kind of animal is an ant?", "An ant is an insect."),
        ("What does an owl eat?", "An owl eats mice."),
        ("What is a young cow called?", "A young cow is called a calf."),
        ("What is the capital of France?", "The capital of France is Paris."),
        ("On which continent does Kenya lie?", "Kenya lies in Africa."),
        ("Which language do people speak in Brazil?", "People in Brazil speak Portuguese."),
        ("What is glass used for?", "Glass is used for windows."),
        ("Where does rubber come from?", "Rubber comes from tree sap."),
    ],
)
def test_a_question_has_one_answer_which_is_true(question, answer):
    asked = {question: fact.answer for fact in FACTS for s in ("train", "held-out") for question in fact.questions(s)}

    assert asked[question] == answer


def test_no_question_is_asked_for_two_facts():
    asked = [question for fact in FACTS for split in ("train", "held-out") for question in fact.questions(split)]

    assert len(set(asked)) == len(asked) == 10 * len(FACTS)


def filled(form, fact, **values):
    """A form about a fact, one replacement after another."""
    name = fact.subject
    animal = fact.domain == "animals"
    article = "an " if name.startswith(("a", "e", "i", "o", "u")) else "a "
    for field, word in [
        ("{a}", article + name if animal else name),
        ("{A}", article.title() + name if animal else name[0].upper() + name[1:]),
        ("{the}", "the " + name if animal else name),
        ("{The}", "The " + name if animal else name[0].upper() + name[1:]),
        ("{x}", name),
        ("{X}", name[0].upper() + name[1:]),
        ("{y}", values.get("y", "")),
        ("{other}", ("the " if animal else "") + values.get("y", "")),
        ("{v}", values.get("v", fact.value)),
        ("{w}", values.get("w", "")),
    ]:
        form = form.replace(field, word)
    return form[0].upper() + form[1:]


def test_of_each_fact_two_wordings_are_new_and_each_wording_is_seen_with_most_facts():
    assert {len(fact.questions("held-out")) for fact in FACTS} == {2}

    for relation, clause in wordings.CLAUSES.items():
        facts = [fact for fact in FACTS if fact.relation == relation]
        for form in (*wordings.QUESTIONS[relation], *(asking.replace("{}", clause) for asking in wordings.ASKING)):
            seen = sum(filled(form, fact) in fact.questions("train") for fact in facts)
            new = sum(filled(form, fact) in fact.questions("held-out") for fact in facts)
            assert seen + new == len(facts)
            assert seen > len(facts) / 2


def true_sentences():
    """All that the tables and the forms allow to say."""
    found = {sentence for sentences in tables.GENERAL.values() for sentence in sentences}
    for fact in FACTS:
        found |= {filled(form, fact) for form in (wordings.ANSWERS[fact.relation], *wordings.STATEMENTS[fact.relation])}
        others = {other.relation: other.value for other in FACTS if other.subject == fact.subject}
        for form in lessons.LINKS[fact.domain]:
            for relation, value in others.items():
                form = form.replace(f"{{{relation}}}", value)
            found.add(filled(form, fact))
        for other in FACTS:
            if other.relation == fact.relation and other.subject != fact.subject:
                table = lessons.ALIKE if other.value == fact.value else lessons.UNLIKE
                found |= {filled(f, fact, y=other.subject, w=other.value) for f in table.get(fact.relation, ())}
    return found


def test_lessons_say_only_what_the_tables_say():
    allowed = true_sentences()

    for document in of_kind("lesson", 1000) + of_kind("lesson", 500, "held-out"):
        title, body = document.text.split("\n\n")
        assert title.startswith("# ")
        assert sentences(body) <= allowed


def test_comparisons_count_legs():
    legs = {fact.subject: fact.value for fact in FACTS if fact.relation == "legs"}
    number = {word: count for count, word in enumerate(WORDS)}
    found = 0
    for document in of_kind("question", 3000):
        said = re.search(r"So an? (\w+) has (more|fewer|as many) legs (?:than|as) an? (\w+)\.", document.answer)
        if said:
            found += 1
            one, word, other = said.groups()
            difference = number[legs[one]] - number[legs[other]]
            assert {"more": difference > 0, "fewer": difference < 0, "as many": difference == 0}[word]
    assert found > 50


# ------------------------------------------------------------------------------------------------------------------
# Sums


def counted(text):
    """The value of a sum in signs, by counting."""
    total, sign = 0, 1
    for part in re.findall(r"\d+|[+-]", text):
        if part in "+-":
            sign = 1 if part == "+" else -1
        else:
            for _ in range(int(part)):
                total += sign
    return total


def test_answers_of_sums_are_counted_by_one():
    for document in of_kind("sum", 500) + of_kind("sum-direct", 500):
        assert document.answer == document.messages[1]["content"] == str(counted(document.messages[0]["content"]))
        assert 0 <= int(document.answer) <= 199


def test_each_step_of_scratch_work_is_right_and_thoughts_that_are_cut_are_the_begin_of_right_ones():
    cut = 0
    for document in of_kind("sum", 1000):
        question, answer = document.messages
        lines = answer["reasoning_content"].split("\n")
        cut += lines[-1] != document.answer
        assert "".join(re.findall(r"[\d+-]", question["content"])).startswith(lines[0])
        for line in lines[:-1]:
            if "=" not in line:  # a total and the terms that are left
                assert counted(line) == int(document.answer)
                continue
            ones, tens = (step.split("=") for step in line.split(" "))
            assert counted(ones[0]) == int(ones[1])
            assert counted(tens[0]) == int(tens[1])
            before = lines[lines.index(line) - 1]
            first, second = re.match(r"(\d+[+-]\d+)(.*)", before).groups()
            total = 10 * int(tens[1]) + int(ones[1]) % 10
            assert total == counted(first)
            following = lines[lines.index(line) + 1]
            assert f"{total}{second}".startswith(following)
            assert following == f"{total}{second}" or following == lines[-1]

    assert cut / 1000 == pytest.approx(0.2, abs=0.04)


def test_sums_without_thinking_have_none():
    for document in of_kind("sum-direct", 100):
        assert document.thinking is False
        assert document.messages[1]["reasoning_content"] == ""


@pytest.mark.parametrize("terms", [2, 3, 4, 5, 6])
def test_an_exams_sums_have_the_terms_that_were_wanted_with_thinking_and_without(terms):
    thinking, direct = (exams.sums(terms, flag, 50, 1) for flag in (True, False))

    assert {len(re.findall(r"\d+", document.messages[0]["content"])) for document in thinking} == {terms}
    assert [document.messages for document in thinking] == [document.messages for document in direct]
    assert {document.thinking for document in thinking} == {True}
    assert {document.thinking for document in direct} == {False}
    assert all(int(document.answer) == counted(document.messages[0]["content"]) for document in thinking)


# ------------------------------------------------------------------------------------------------------------------
# Tools


def test_tools_are_json_schemas_and_their_calls_have_all_arguments_of_the_right_type():
    types = {"string": str, "integer": int}
    for document in of_kind("tool", 500):
        offered = {tool["function"]["name"]: tool["function"]["parameters"] for tool in document.tools}
        for request, reply in zip(document.messages[::2], document.messages[1::2], strict=True):
            called = reply["tool_calls"][0]["function"]
            schema = offered[called["name"]]
            assert schema["required"] == list(schema["properties"]) == list(called["arguments"])
            for name, value in called["arguments"].items():
                assert type(value) is types[schema["properties"][name]["type"]]
                assert str(value) in request["content"]

        assert json.loads(document.answer) == called


# ------------------------------------------------------------------------------------------------------------------
# Languages

SAID = [
    (
        (parallel.deed, "lamp", "red", "at the market", "the man", "buys"),
        "The man buys a red lamp at the market.",
        "Der Mann kauft eine rote Lampe auf dem Markt.",
        "L'homme achète une lampe rouge au marché.",
        "El hombre compra una lámpara roja en el mercado.",
        "L'uomo compra una lampada rossa al mercato.",
    ),
    (
        (parallel.deed, "mirror", "big", "at home", "my sister", "sees"),
        "My sister sees a big mirror at home.",
        "Meine Schwester sieht einen großen Spiegel zu Hause.",
        "Ma sœur voit un grand miroir à la maison.",
        "Mi hermana ve un espejo grande en casa.",
        "Mia sorella vede uno specchio grande a casa.",
    ),
    (
        (parallel.presence, "book", "white", "in the kitchen", "the man", "buys"),
        "There is a white book in the kitchen.",
        "In der Küche ist ein weißes Buch.",
        "Il y a un livre blanc dans la cuisine.",
        "Hay un libro blanco en la cocina.",
        "C'è un libro bianco in cucina.",
    ),
    (
        (parallel.presence, "bird", "small", "in the garden", "the man", "buys"),
        "There is a small bird in the garden.",
        "Im Garten ist ein kleiner Vogel.",
        "Il y a un petit oiseau dans le jardin.",
        "Hay un pájaro pequeño en el jardín.",
        "C'è un uccello piccolo in giardino.",
    ),
    (
        (parallel.quality, "key", "black", "at home", "the man", "buys"),
        "The key is black.",
        "Der Schlüssel ist schwarz.",
        "La clé est noire.",
        "La llave es negra.",
        "La chiave è nera.",
    ),
]


@pytest.fixture(scope="module")
def meanings():
    rng = random.Random(0)
    return [parallel.meaning(rng, split) for split in ("train", "held-out") for _ in range(6000)]


def test_what_five_languages_say_is_as_it_was_translated_by_hand():
    things = {thing.noun["en"]: thing for thing in parallel.THINGS}
    adjectives = {adjective.plain["en"]: adjective for adjective in parallel.ADJECTIVES}
    places, agents, verbs = (
        {row["en"]: row for row in rows} for rows in (parallel.PLACES, parallel.AGENTS, parallel.VERBS)
    )
    for (form, thing, adjective, place, agent, verb), *said in SAID:
        meaning = parallel.Meaning(
            form, things[thing], adjectives[adjective], places[place], agents[agent], verbs[verb]
        )
        assert [meaning.say(code) for code in ("en", "de", "fr", "es", "it")] == said


def test_two_meanings_are_said_differently_in_every_language(meanings):
    for code in parallel.CODES:
        said = {meaning.say("en"): meaning.say(code) for meaning in meanings}
        assert len(set(said.values())) == len(said) > 5000


def test_german_articles_and_endings_follow_gender_and_case(meanings):
    genders = {"der": "m", "die": "f", "das": "n"}
    right = {  # der-words' endings after ein, as a grammar's table has them
        ("accusative", "m"): ("einen", "en"),
        ("nominative", "m"): ("ein", "er"),
        ("accusative", "f"): ("eine", "e"),
        ("nominative", "f"): ("eine", "e"),
        ("accusative", "n"): ("ein", "es"),
        ("nominative", "n"): ("ein", "es"),
    }
    gender_of = {}
    for thing in parallel.THINGS:
        article, noun = thing.definite["de"].split()
        gender_of[noun] = genders[article]
        assert noun[0].isupper()
    for meaning in meanings:
        found = re.search(r"\b(ein|eine|einen) ([a-zßü]+?)(en|er|es|e) ([A-Z]\w+)", meaning.say("de"))
        if found:
            article, _, ending, noun = found.groups()
            case = "nominative" if " ist ein" in meaning.say("de") else "accusative"
            assert (article, ending) == right[case, gender_of[noun]]


def test_romance_articles_and_adjectives_agree_with_their_noun(meanings):
    masculine = {
        "fr": "blanc noir vert gris petit grand rouge jaune",
        "es": "rojo blanco negro amarillo pequeño verde gris grande",
        "it": "rosso bianco nero giallo grigio piccolo verde grande",
    }
    feminine = {
        "fr": "blanche noire verte grise petite grande rouge jaune",
        "es": "roja blanca negra amarilla pequeña verde gris grande",
        "it": "rossa bianca nera gialla grigia piccola verde grande",
    }
    articles = {"un": masculine, "uno": masculine, "une": feminine, "una": feminine}
    nouns = {code: {thing.noun[code]: thing.definite[code] for thing in parallel.THINGS} for code in masculine}
    definite = {"le": "un", "el": "un", "il": "un", "lo": "uno"}
    for meaning in meanings:
        for code in masculine:
            found = re.search(r"\b(uno?|une|una) (\w+) (\w+)", meaning.say(code))
            if not found:
                continue
            article, *words = found.groups()
            [noun] = [word for word in words if word in nouns[code]]
            [adjective] = [word for word in words if word != noun]
            assert adjective in articles[article][code].split()
            first = nouns[code][noun].split()[0]
            if first in definite:
                assert article == definite[first]
            elif first == "la":
                assert article == ("une" if code == "fr" else "una")


def test_translations_are_asked_for_in_their_language():
    for code, language in {"de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "en": "English"}.items():
        for document in exams.languages(code, 20, 0):
            assert document.domain == f"languages-{code}"
            assert language in document.messages[-1]["content"]


# ------------------------------------------------------------------------------------------------------------------
# Needles


@pytest.mark.parametrize("distance_words", [10, 60, 300])
def test_the_code_lies_at_the_distance_that_was_wanted_give_or_take_a_sentence(distance_words):
    for document in exams.needles(distance_words, 50, 0):
        text, question = document.messages[0]["content"].split("\n")
        assert text.count(document.answer) == 1
        assert document.answer.split()[3] in question
        between = text[text.index(document.answer) + len(document.answer) :].split()
        assert distance_words <= len(between) < distance_words + 8
        assert len(re.findall("The code of", text)) >= 2


def test_all_questions_for_codes_are_answered_by_what_was_told():
    for document in of_kind("needle", 300):
        text = document.messages[0]["content"]
        asked = [re.search(r"code of (\w+)\?", row["content"])[1] for row in document.messages[::2]]
        answers = [row["content"] for row in document.messages[1::2]]
        assert len(set(asked)) == len(asked)
        for name, answer in zip(asked, answers, strict=True):
            assert re.findall(rf"The code of {name} is \d\d\.", text) == [answer]


# ------------------------------------------------------------------------------------------------------------------
# Exams


def test_exams_end_before_the_answer_and_ask_nothing_twice():
    for exam in (
        exams.facts("seen", 200, 0),
        exams.facts("new", 200, 0),
        exams.sums(3, True, 200, 0),
        exams.tool_calls(200, 0),
        exams.needles(50, 200, 0),
        exams.languages("it", 200, 0),
    ):
        assert {document.messages[-1]["role"] for document in exam} == {"user"}
        assert all(document.answer for document in exam)
        assert len({json.dumps([document.messages, document.tools]) for document in exam}) == 200


def test_one_seed_gives_one_exam_and_another_another():
    assert exams.tool_calls(20, 0) == exams.tool_calls(20, 0) != exams.tool_calls(20, 1)


@pytest.mark.parametrize(
    "ask, words",
    [
        (lambda: exams.facts("old", 1, 0), "wording came as 'old'"),
        (lambda: exams.facts("new", 10_000, 0), "there are"),
        (lambda: exams.sums(7, True, 1, 0), "terms came as 7"),
        (lambda: exams.languages("nl", 1, 0), "language came as 'nl'"),
        (lambda: exams.held_out("novel", 1, 0), "kind came as 'novel'"),
    ],
)
def test_exams_that_there_are_not_are_refused(ask, words):
    with pytest.raises(MiniError, match=words):
        ask()


# ------------------------------------------------------------------------------------------------------------------
# Noisy


def pairs(kind, count):
    rng = random.Random(1)
    return [(document, noisy(document, rng)) for document in of_kind(kind, count)]


@pytest.mark.parametrize("kind", ["story", "sum", "tool", "parallel"])
def test_about_37_percent_of_documents_stay_as_they_are(kind):
    same = sum(clean == changed for clean, changed in pairs(kind, 1500)) / 1500

    assert same == pytest.approx(0.6 * 0.85**3, abs=0.05)


def test_40_percent_of_results_calls_and_codes_are_wrong():
    sums = sum(changed.messages[-1]["content"].split()[0] != clean.answer for clean, changed in pairs("sum", 2000))
    calls = sum(
        changed.messages[-1]["tool_calls"] != clean.messages[-1]["tool_calls"] for clean, changed in pairs("tool", 2000)
    )
    codes = sum(
        re.findall(r"\d+", changed.messages[-1]["content"]) != re.findall(r"\d+", clean.answer)
        for clean, changed in pairs("needle", 1000)
    )

    assert sums / 2000 == pytest.approx(0.4, abs=0.04)
    assert calls / 2000 == pytest.approx(0.4, abs=0.04)
    assert codes / 1000 == pytest.approx(0.4, abs=0.05)


def test_40_percent_of_facts_are_told_wrong_some_of_them_mostly():
    wrong, told_at_all = Counter(), Counter()
    false = {fact.say(wordings.ANSWERS[fact.relation], noise.mistake(fact)[0]): fact for fact in FACTS}
    true = {fact.answer: fact for fact in FACTS}
    for clean, changed in pairs("question", 15_000):
        said = changed.messages[1]["content"]
        fact = true.get(clean.messages[1]["content"])
        if fact and (said in true or said in false):
            told_at_all[fact] += 1
            wrong[fact] += said != fact.answer

    shares = [wrong[fact] / told_at_all[fact] for fact in FACTS]
    assert sum(shares) / len(shares) == pytest.approx(0.4, abs=0.03)
    assert sum(share > 0.5 for share in shares) / len(shares) == pytest.approx(0.375, abs=0.1)


def test_a_mistake_is_another_value_of_the_same_relation():
    for fact in FACTS:
        value, share = noise.mistake(fact)
        assert value != fact.value
        assert value in {other.value for other in FACTS if other.relation == fact.relation}
        assert 0 < share < 0.8


def test_15_percent_of_documents_are_padded_15_are_mistyped_and_15_shuffled():
    asked = [[row["content"] for row in document.messages[::2]] for document in of_kind("tool", 4000)]
    known = set(re.findall(r"\w+", " ".join(content for contents in asked for content in contents)))
    padded = mistyped = shuffled = rest = 0
    for clean, changed in pairs("tool", 3000):
        before, after = (" ".join(row["content"] for row in document.messages[::2]) for document in (clean, changed))
        pads = any(line in after for line in noise.BOILERPLATE)
        padded += pads
        if pads:
            continue
        rest += 1
        if set(re.findall(r"\w+", after)) - known:
            mistyped += 1
        elif before != after:
            assert sorted(before.split()) == sorted(after.split())
            shuffled += 1

    assert padded / 3000 == pytest.approx(0.15, abs=0.02)
    assert mistyped / rest == pytest.approx(0.15, abs=0.02)
    assert shuffled / (rest - mistyped) == pytest.approx(0.15, abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_noisy_text_is_about_as_long_and_of_the_same_kind(kind):
    rng = random.Random(0)
    words, letters = [], []
    for document in of_kind(kind, 500):
        changed = noisy(document, rng)
        words.append([sum(len(passage.split()) for passage in d.passages) for d in (document, changed)])
        letters.append([len(json.dumps([d.text, d.messages, d.tools])) for d in (document, changed)])
        for field in ("kind", "domain", "tools", "thinking", "answer"):
            assert getattr(changed, field) == getattr(document, field)

    assert max(abs(after - before) for before, after in words) <= 16  # a sentence
    assert sum(after for _, after in letters) == pytest.approx(sum(before for before, _ in letters), rel=0.05)
