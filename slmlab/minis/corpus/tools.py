"""Calls of functions: some are offered, one fits, and its arguments are to be copied from what is asked.

What is said literally stands in quotation marks: its tokens are those of the JSON, which without them it would not be,
since a space belongs to the word that follows.

Held out are calls, by the hash of their name and all arguments: two digits, two words or three values that never came
together, each of them seen.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from .document import Document
from .splits import belongs, between, choose, shuffled
from .stories import NAMES

OFFERED = (1, 2, 3)  # tools
TOOLS_AND_TURNS = 5  # together at most, so that a document is not over 256 tokens; an exam has one turn

CITIES = (
    "Paris", "Rome", "Lima", "Cairo", "Tokyo", "Berlin", "Madrid", "Athens", "Oslo", "Delhi", "Quito", "Vienna",
    "Dublin", "Prague", "Havana", "Lisbon", "Hanoi", "Nairobi", "Accra", "Beijing",
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
ERRANDS = (
    "buy", "find", "sell", "bring", "return", "check", "fetch", "order", "pack", "get", "collect", "choose",
)  # fmt: skip
GOODS = (
    "milk", "bread", "the car", "the lamp", "two eggs", "the book", "a coat", "the bike", "some paper", "the boat",
    "a hat", "the keys", "some tea", "a ticket", "the bag", "a chair",
)  # fmt: skip
COLOURS = (
    "Blue", "Red", "Green", "Golden", "Silver", "White", "Black", "Silent", "Happy", "Summer", "Lonely", "Early", "Old",
    "New",
)  # fmt: skip
SONGS = (
    "River", "Moon", "Rain", "Street", "Train", "Garden", "Morning", "Mountain", "Island", "Winter", "Forest", "Bird",
    "Road", "Star",
)  # fmt: skip
UNITS = ("km", "miles", "kg", "pounds", "litres", "gallons", "metres", "feet")
PARTNERS = dict(zip(UNITS, ("miles", "km", "pounds", "kg", "gallons", "litres", "feet", "metres"), strict=True))
MESSAGES = (
    "I am late", "come home", "call me", "dinner is ready", "see you soon", "good luck", "wait for me", "I am here",
    "bring the book", "the train is late", "we are lost", "take a coat",
)  # fmt: skip
DEVICES = ("lamp", "heater", "fan", "radio", "oven", "screen", "fridge", "speaker", "printer", "kettle", "camera")
ROOMS = (
    "kitchen", "bedroom", "bathroom", "garage", "office", "cellar", "hall", "garden", "library", "workshop", "attic",
)  # fmt: skip


@dataclass(frozen=True)
class Tool:
    name: str
    does: str
    types: dict[str, str]  # argument -> its type in JSON's schema
    draw: Callable[[random.Random], dict]  # values for all arguments
    wordings: tuple[str, ...]

    @property
    def schema(self) -> dict:
        properties = {argument: {"type": kind} for argument, kind in self.types.items()}
        parameters = {"type": "object", "properties": properties, "required": list(self.types)}
        return {"type": "function", "function": {"name": self.name, "description": self.does, "parameters": parameters}}


def _units(rng: random.Random) -> dict:
    unit = choose(rng, UNITS)
    return {"amount": between(rng, 2, 99), "from": unit, "to": PARTNERS[unit]}


def _two_words(rng: random.Random, *columns: tuple[str, ...]) -> str:
    return " ".join(choose(rng, column) for column in columns)


TOOLS = (
    Tool(
        "set_timer",
        "Start a timer",
        {"minutes": "integer"},
        lambda rng: {"minutes": between(rng, 2, 240)},
        (
            "Set a timer for {minutes} minutes.",
            "Wake me in {minutes} minutes.",
            "I need a timer for {minutes} minutes.",
            "Please count down {minutes} minutes.",
            "The tea needs {minutes} minutes, start a timer.",
        ),
    ),
    Tool(
        "get_weather",
        "Weather forecast",
        {"city": "string", "day": "string"},
        lambda rng: {"city": choose(rng, CITIES), "day": choose(rng, DAYS)},
        (
            "What is the weather in {city} on {day}?",
            "Will it rain in {city} on {day}?",
            "How warm will it be on {day} in {city}?",
            "Tell me the weather on {day} in {city}.",
            "I travel to {city} on {day}. Do I need a coat?",
        ),
    ),
    Tool(
        "add_note",
        "Write a note",
        {"text": "string"},
        lambda rng: {"text": _two_words(rng, ERRANDS, GOODS)},
        (
            'Note this: "{text}".',
            'Write down "{text}".',
            'Please remember this: "{text}".',
            'Add the note "{text}".',
            'My note is "{text}".',
        ),
    ),
    Tool(
        "convert",
        "Convert units",
        {"amount": "integer", "from": "string", "to": "string"},
        _units,
        (
            "How many {to} are {amount} {from}?",
            "Convert {amount} {from} to {to}.",
            "What is {amount} {from} in {to}?",
            "I have {amount} {from}. How much is that in {to}?",
            "Tell me {amount} {from} in {to}.",
        ),
    ),
    Tool(
        "play",
        "Play a song",
        {"song": "string"},
        lambda rng: {"song": _two_words(rng, COLOURS, SONGS)},
        (
            'Play "{song}".',
            'I want to hear "{song}".',
            'Put on the song "{song}".',
            'Can you play "{song}" for me?',
            'Let us listen to "{song}".',
        ),
    ),
    Tool(
        "send",
        "Send a message",
        {"to": "string", "text": "string"},
        lambda rng: {"to": choose(rng, list(NAMES)), "text": choose(rng, MESSAGES)},
        (
            'Send {to} the message "{text}".',
            'Tell {to} "{text}".',
            'Write "{text}" to {to}.',
            'Please send "{text}" to {to}.',
            'Let {to} know: "{text}".',
        ),
    ),
    Tool(
        "switch_on",
        "Switch a device on",
        {"device": "string", "room": "string"},
        lambda rng: {"device": choose(rng, DEVICES), "room": choose(rng, ROOMS)},
        (
            "Switch on the {device} in the {room}.",
            "Turn the {device} in the {room} on.",
            "I need the {device} in the {room}.",
            "Could you turn on the {device} in the {room}?",
            "Please start the {device} in the {room}.",
        ),
    ),
    Tool(
        "set_alarm",
        "Set an alarm clock",
        {"time": "string"},
        lambda rng: {"time": f"{between(rng, 5, 22)}:{between(rng, 10, 59)}"},
        (
            "Wake me at {time}.",
            "Set an alarm for {time}.",
            "I have to get up at {time}.",
            "Please ring at {time}.",
            "My train leaves soon after {time}, set an alarm.",
        ),
    ),
)
BY_NAME = {tool.name: tool for tool in TOOLS}


def document(rng: random.Random, split: str, turns: int | None = None) -> Document:
    """A conversation of some turns, each with a call of one of the same tools."""
    offered = shuffled(rng, TOOLS)[: choose(rng, OFFERED)]
    rows: list[dict] = []
    if turns is None:
        turns = between(rng, 1, TOOLS_AND_TURNS - len(offered))
    for _ in range(turns):
        tool = choose(rng, offered)
        values = arguments(rng, tool.name, split)
        rows += [
            {"role": "user", "content": choose(rng, tool.wordings).format(**values)},
            {"role": "assistant", "content": "", "tool_calls": [call(tool.name, values)]},
        ]
    schemas = tuple(tool.schema for tool in offered)
    return Document("tool", "tools", messages=tuple(rows), tools=schemas, answer=written(tool.name, values))


def arguments(rng: random.Random, name: str, split: str) -> dict:
    while not belongs(written(name, drawn := BY_NAME[name].draw(rng)), split):
        pass
    return drawn


def call(name: str, arguments: dict) -> dict:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def written(name: str, arguments: dict) -> str:
    return json.dumps({"name": name, "arguments": arguments}, separators=(",", ":"), ensure_ascii=False)
