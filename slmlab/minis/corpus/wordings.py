"""How facts are asked for and told.

Fields: {a} {A} {the} {The} {x} {X} are the subject ("a spider", "A spider", "the spider", "The spider", "spider",
"Spider"; a place has no article), {v} {V} the value. Every sentence names its subject, so that it is true by itself.
"""

from .tables import CAPITAL, CLASS, CONTINENT, FOOD, HOME, LANGUAGE, LEGS, ORIGIN, PROPERTY, USE, YOUNG

ANSWERS = {  # the one right answer to all questions for a fact
    LEGS: "{A} has {v} legs.",
    CLASS: "{A} is {v}.",
    FOOD: "{A} eats {v}.",
    HOME: "{A} lives {v}.",
    YOUNG: "A young {x} is called {v}.",
    CAPITAL: "The capital of {x} is {v}.",
    CONTINENT: "{x} lies in {v}.",
    LANGUAGE: "People in {x} speak {v}.",
    ORIGIN: "{X} comes from {v}.",
    PROPERTY: "{X} is {v}.",
    USE: "{X} is used for {v}.",
}

ASKING = ("Can you tell me {}?", "Do you know {}?", "I want to know {}.", "Please tell me {}.")  # before a clause
CLAUSES = {
    LEGS: "how many legs {a} has",
    CLASS: "what kind of animal {a} is",
    FOOD: "what {a} eats",
    HOME: "where {a} lives",
    YOUNG: "what a young {x} is called",
    CAPITAL: "what the capital of {x} is",
    CONTINENT: "on which continent {x} lies",
    LANGUAGE: "which language people speak in {x}",
    ORIGIN: "where {x} comes from",
    PROPERTY: "what {x} is like",
    USE: "what {x} is used for",
}
QUESTIONS = {
    LEGS: (
        "How many legs does {a} have?",
        "What number of legs does {a} have?",
        "How many legs has {a} got?",
        "How many legs can you count on {a}?",
        "How many legs are there on {a}?",
        "Count the legs of {a}.",
    ),
    CLASS: (
        "What kind of animal is {a}?",
        "Which group of animals does {a} belong to?",
        "What sort of creature is {a}?",
        "How do we classify {a}?",
        "To which class of animals does {a} belong?",
        "Name the kind of animal that {a} is.",
    ),
    FOOD: (
        "What does {a} eat?",
        "What is the food of {a}?",
        "What does {a} feed on?",
        "What does {a} like to eat?",
        "Which food does {a} look for?",
        "Name the food of {a}.",
    ),
    HOME: (
        "Where does {a} live?",
        "What is the home of {a}?",
        "Where can you find {a}?",
        "Where is {a} at home?",
        "In what place does {a} live?",
        "Name the home of {a}.",
    ),
    YOUNG: (
        "What is a young {x} called?",
        "What do we call a young {x}?",
        "What is the name for a baby {x}?",
        "What name do we give to the young of {a}?",
        "What is the word for a young {x}?",
        "Name the young of {a}.",
    ),
    CAPITAL: (
        "What is the capital of {x}?",
        "Which city is the capital of {x}?",
        "What is the capital city of {x}?",
        "What capital does {x} have?",
        "From which city is {x} governed?",
        "Name the capital of {x}.",
    ),
    CONTINENT: (
        "On which continent does {x} lie?",
        "Which continent is {x} part of?",
        "On what continent is {x}?",
        "Which continent does {x} belong to?",
        "In which part of the world is {x}?",
        "Name the continent of {x}.",
    ),
    LANGUAGE: (
        "Which language do people speak in {x}?",
        "What language is spoken in {x}?",
        "What is the language of {x}?",
        "What do people speak in {x}?",
        "Which language is used in {x}?",
        "Name the language of {x}.",
    ),
    ORIGIN: (
        "Where does {x} come from?",
        "What does {x} come from?",
        "What is the source of {x}?",
        "From what do we get {x}?",
        "How do we get {x}?",
        "Name the source of {x}.",
    ),
    PROPERTY: (
        "What is {x} like?",
        "How would you describe {x}?",
        "What property does {x} have?",
        "What is special about {x}?",
        "Which quality does {x} have?",
        "Describe {x} in short.",
    ),
    USE: (
        "What is {x} used for?",
        "What do people use {x} for?",
        "What is the use of {x}?",
        "For what do we need {x}?",
        "What do we make with {x}?",
        "Name a use of {x}.",
    ),
}  # fmt: skip

STATEMENTS = {  # in lessons, beside the answers
    LEGS: (
        "{The} has {v} legs.",
        "There are {v} legs on the body of {a}.",
        "Look at {a}, and you will see {v} legs.",
        "Nature gave {the} {v} legs.",
        "As everyone can count, {a} has {v} legs.",
    ),
    CLASS: (
        "{The} is {v}.",
        "We call {the} {v}.",
        "In biology {the} is {v}.",
        "Everyone who studies animals knows that {the} is {v}.",
        "By its class {the} is {v}.",
    ),
    FOOD: (
        "{The} feeds on {v}.",
        "{The} likes to eat {v}.",
        "When {the} is hungry, it looks for {v}.",
        "The food of {the} is {v}.",
        "A hungry {x} eats {v}.",
    ),
    HOME: (
        "{The} lives {v}.",
        "You can find {the} {v}.",
        "The home of {the} is {v}.",
        "{The} has its home {v}.",
        "If you look for {a}, look {v}.",
    ),
    YOUNG: (
        "We call a young {x} {v}.",
        "The young of {the} is called {v}.",
        "A baby {x} is called {v}.",
        "Before it grows up, {a} is {v}.",
        "The word for a young {x} is {v}.",
    ),
    CAPITAL: (
        "{v} is the capital of {x}.",
        "{x} has {v} as its capital.",
        "{x} is governed from {v}.",
        "The government of {x} sits in {v}.",
        "The capital city of {x} is called {v}.",
    ),
    CONTINENT: (
        "{x} is a country in {v}.",
        "{x} is part of {v}.",
        "The continent of {x} is {v}.",
        "You will find {x} on a map of {v}.",
        "{x} belongs to {v}.",
    ),
    LANGUAGE: (
        "The language of {x} is {v}.",
        "{v} is spoken in {x}.",
        "Children in {x} speak {v} at school.",
        "Books in {x} are printed in {v}.",
        "In the streets of {x} you hear {v}.",
    ),
    ORIGIN: (
        "We get {x} from {v}.",
        "The source of {x} is {v}.",
        "People get {x} from {v}.",
        "All {x} starts with {v}.",
        "Without {v} there would be no {x}.",
    ),
    PROPERTY: (
        "We know that {x} is {v}.",
        "Good {x} is {v}.",
        "You can feel or see that {x} is {v}.",
        "People like {x} because it is {v}.",
        "What makes {x} special is that it is {v}.",
    ),
    USE: (
        "People use {x} for {v}.",
        "We need {x} for {v}.",
        "Many {v} are made with {x}.",
        "Workers use {x} to make {v}.",
        "{X} is good for {v}.",
    ),
}  # fmt: skip

TITLES = ("# {The}", "# About {the}", "# All about {the}", "# A lesson about {the}", "# What we know about {the}")

EXPLAIN = (
    "Tell me about {the}.", "What do you know about {the}?", "Explain what you know about {the}.",
    "Describe {the} in full.",
    "Teach me about {the}.", "Say something about {the}.",
)  # fmt: skip
COMPARE = (
    "Compare {the} and {other}.", "What is the difference between {the} and {other}?",
    "How do {the} and {other} differ?", "Put {the} beside {other}.",
)  # fmt: skip
WHY = (
    "Why is {x} used for {v}?", "Why do people use {x} for {v}?", "Why do we need {x} for {v}?",
    "Explain why {x} is used for {v}.",
)  # fmt: skip
