"""Stories: two friends, a thing that is lost or broken, help, an end. Six or seven plain sentences.

Each sentence is drawn for itself, with the story's names and things, until it belongs to the split.
"""

import random
from functools import partial

from .document import Document
from .splits import choose, draw

NAMES = {  # name -> pronoun
    "Lena": "she", "Jack": "he", "Mia": "she", "Tom": "he", "Anna": "she", "Ben": "he", "Sara": "she", "Max": "he",
    "Nora": "she", "Paul": "he", "Emma": "she", "Leo": "he", "Ida": "she", "Finn": "he", "Ruth": "she", "Oscar": "he",
}  # fmt: skip
WHEN = ("One morning", "One day", "On a warm day", "Early in the morning", "After school", "On Sunday", "One afternoon")
PLACES = (
    "the park", "the market", "the river", "the forest", "the beach", "the garden", "the village", "the lake",
    "the old mill", "the station",
)  # fmt: skip
LOOKS = ("new", "old", "red", "blue", "small", "big", "green", "yellow")
SPOTS = ("a tree", "a bench", "a wall", "a bush", "the bridge", "a big stone", "the gate", "a fence")
ENDS = ("In the evening", "At the end of the day", "At last", "Before dark", "When the sun went down", "Before dinner")
MOODS = ("happy", "glad", "tired but happy", "proud", "cheerful")

LOST = (
    "Then the wind blew and the {look} {thing} was gone.", "Suddenly the {look} {thing} was gone.",
    "Then {name} could not find the {look} {thing} any more.", "But a dog ran away with the {look} {thing}.",
    "Near {place} {name} lost the {look} {thing}.", "Then it began to rain and the {look} {thing} was lost.",
)  # fmt: skip
FOUND = (
    "They looked behind {spot} and found the {look} {thing}.", "The {look} {thing} was behind {spot}.",
    "{friend} saw the {look} {thing} near {spot}.", "Near {spot} lay the {look} {thing}.",
    "{friend} ran to {spot} and came back with the {look} {thing}.",
)  # fmt: skip
BROKEN = (
    "Then {name} fell and the {look} {thing} broke.", "Suddenly the {look} {thing} broke.",
    "Near {place} the {look} {thing} broke.", "But the {look} {thing} fell down and broke.",
    "Then {name} dropped the {look} {thing} near {place}, and it broke.",
)  # fmt: skip
MENDED = (
    "They sat down near {spot} and mended the {look} {thing}.", "{friend} mended the {look} {thing} with a string.",
    "Near {spot} they worked until the {look} {thing} was fine again.",
    "{friend} and {name} worked on the {look} {thing} until it was fine again.",
)  # fmt: skip
PLOTS = (  # trouble, help, things that it can happen to
    (LOST, FOUND, ("hat", "ball", "kite", "book", "bag", "coat", "key", "cap", "basket", "scarf")),
    (BROKEN, MENDED, ("kite", "boat", "basket", "lamp", "drum", "flute", "cart", "umbrella")),
)

OPENING = ("{when} {name} went to {place} with {friend}.", "{when} {name} and {friend} went to {place}.",
           "{when} {name} met {friend} near {place}.")  # fmt: skip
OWNING = (
    "{name} had {a_look} {thing}.", "{name} took {a_look} {thing} along.",
    "{name} had {a_look} {thing} from {helper}.", "{name} carried {a_look} {thing}.",
)  # fmt: skip
SADNESS = (
    "{name} was very sad about the {thing}.", "{name} sat down near {spot} and cried.",
    "{Pronoun} looked at {friend} and cried.", '"Oh no, my {thing}!" cried {name}.',
    '"My {look} {thing}!" said {name}.',
)  # fmt: skip
COMFORT = (
    '"Do not worry about the {thing}," said {friend}.', '"I will help you, {name}," said {friend}.',
    '"We can do it together, {name}," said {friend}.', '{friend} said, "Do not cry, {name}."',
)  # fmt: skip
THANKS = (
    '"Thank you, {friend}," said {name}.', "{name} thanked {friend} and laughed.",
    '"You are a good friend, {friend}!" said {name}.',
    "{name} gave {friend} an apple.", "{name} danced with {friend} near {spot}.",
)  # fmt: skip
ENDING = (
    "{end} {name} and {friend} went home and were {mood}.", "{end} both {name} and {friend} felt {mood}.",
    "{end} {name} told the story at home and was {mood}.",
    "{end} the two friends went home from {place} and were {mood}.",
)  # fmt: skip


def document(rng: random.Random, split: str) -> Document:
    while (text := _story(rng, split)) is None:
        pass
    return Document("story", "stories", text=text)


def _story(rng: random.Random, split: str) -> str | None:
    """None: with the names that were drawn some sentence cannot be said in this split."""
    name, friend = choose(rng, list(NAMES)), choose(rng, list(NAMES))
    if name == friend:
        return None
    look, (trouble, help, things) = choose(rng, LOOKS), choose(rng, PLOTS)
    story = {
        "name": name,
        "friend": friend,
        "Pronoun": NAMES[name].capitalize(),
        "thing": choose(rng, things),
        "look": look,
        "a_look": f"{'an' if look[0] in 'aeiou' else 'a'} {look}",
        "place": choose(rng, PLACES),
        "helper": choose(rng, ("an aunt", "an uncle", "a neighbour")),
    }

    sentences = []
    for forms in (COMFORT, OWNING, trouble, SADNESS, help, THANKS, OPENING, ENDING):  # those of few words first
        sentence = draw(partial(_sentence, rng, forms, story), split)
        if sentence is None:
            return None
        sentences.append(sentence)
    comfort, owning, troubled, sadness, helped, thanks, opening, ending = sentences
    return " ".join((opening, owning, troubled, sadness, comfort, helped, thanks, ending))


def _sentence(rng: random.Random, forms: tuple[str, ...], story: dict[str, str]) -> str:
    free = {"when": WHEN, "spot": SPOTS, "end": ENDS, "mood": MOODS}
    return choose(rng, forms).format(**story, **{field: choose(rng, words) for field, words in free.items()})
