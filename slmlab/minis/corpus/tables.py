"""What is so: animals, places and materials, one row each."""

LEGS, CLASS, FOOD, HOME, YOUNG = "legs", "class", "food", "home", "young"
CAPITAL, CONTINENT, LANGUAGE = "capital", "continent", "language"
ORIGIN, PROPERTY, USE = "origin", "property", "use"

RELATIONS = {  # domain -> its relations, in the order of the columns below
    "animals": (LEGS, CLASS, FOOD, HOME, YOUNG),
    "places": (CAPITAL, CONTINENT, LANGUAGE),
    "materials": (ORIGIN, PROPERTY, USE),
}

ROWS = {  # domain -> "subject, value of each relation"; - where nothing is taught
    "animals": """
        spider, eight, an arachnid, insects, in a web, a spiderling
        ant, six, an insect, seeds, in an anthill, -
        bee, six, an insect, nectar, in a hive, -
        butterfly, six, an insect, nectar, in a meadow, a caterpillar
        crab, ten, a crustacean, algae, on the seashore, -
        frog, four, an amphibian, flies, in a pond, a tadpole
        crocodile, four, a reptile, fish, in a river, a hatchling
        snake, no, a reptile, mice, in tall grass, -
        tortoise, four, a reptile, leaves, in dry grassland, -
        owl, two, a bird, mice, in a forest, an owlet
        eagle, two, a bird, rabbits, in the mountains, an eaglet
        penguin, two, a bird, krill, on icy coasts, a chick
        duck, two, a bird, water plants, on a lake, a duckling
        hen, two, a bird, grain, in a coop, a chick
        cow, four, a mammal, grass, on a farm, a calf
        horse, four, a mammal, hay, in a stable, a foal
        pig, four, a mammal, corn, in a pigsty, a piglet
        bear, four, a mammal, berries, in a den, a cub
        rabbit, four, a mammal, clover, in a burrow, a kit
        squirrel, four, a mammal, nuts, in a tree, -
        camel, four, a mammal, thorny plants, in a desert, a calf
        whale, no, a mammal, krill, in the ocean, a calf
        shark, no, a fish, seals, in the sea, a pup
        snail, no, a mollusc, lettuce, in a garden, -
    """,
    "places": """
        France, Paris, Europe, French
        Germany, Berlin, Europe, German
        Spain, Madrid, Europe, Spanish
        Italy, Rome, Europe, Italian
        Portugal, Lisbon, Europe, Portuguese
        Greece, Athens, Europe, Greek
        Sweden, Stockholm, Europe, Swedish
        Japan, Tokyo, Asia, Japanese
        China, Beijing, Asia, Chinese
        Vietnam, Hanoi, Asia, Vietnamese
        Egypt, Cairo, Africa, Arabic
        Kenya, Nairobi, Africa, Swahili
        Ghana, Accra, Africa, English
        Brazil, Brasilia, South America, Portuguese
        Peru, Lima, South America, Spanish
        Cuba, Havana, North America, Spanish
    """,
    "materials": """
        glass, sand, clear, windows
        paper, wood, thin, books
        steel, iron ore, strong, bridges
        rubber, tree sap, stretchy, tyres
        wool, sheep, warm, sweaters
        leather, animal skin, tough, shoes
        silk, silkworms, smooth, scarves
        brick, clay, hard, walls
        plastic, oil, waterproof, bottles
        wax, bees, easy to melt, candles
        linen, flax, cool, summer clothes
        gold, mines, shiny, rings
        cork, tree bark, soft, stoppers
    """,
}

LEG_COUNTS = {"no": 0, "two": 2, "four": 4, "six": 6, "eight": 8, "ten": 10}

# True of a whole group: value -> what a lesson adds. Two or more of each, so that one can be held out.
GENERAL = {
    (CLASS, "an arachnid"): ("All arachnids have eight legs.", "Scorpions are arachnids too."),
    (CLASS, "an insect"): (
        "All insects have six legs.", "The body of an insect has three parts.", "Most insects can fly.",
    ),
    (CLASS, "a crustacean"): ("Crustaceans have a hard shell.", "Most crustaceans live in water."),
    (CLASS, "an amphibian"): ("Amphibians have wet skin.", "Amphibians live on land and in water."),
    (CLASS, "a reptile"): ("Reptiles have dry skin with scales.", "Most reptiles lay eggs.", "Reptiles like the sun."),
    (CLASS, "a bird"): (
        "All birds have two legs.", "All birds lay eggs.", "Only birds have feathers.", "Most birds can fly.",
    ),
    (CLASS, "a mammal"): (
        "Mammals feed their young with milk.", "Mammals breathe air.", "Most mammals have hair or fur.",
        "Mammals have warm blood.",
    ),
    (CLASS, "a fish"): ("Fish breathe under water.", "Most fish have scales."),
    (CLASS, "a mollusc"): ("Many molluscs have a shell.", "Molluscs have soft bodies."),
    (CONTINENT, "Europe"): (
        "Europe has many small countries.", "Europe lies north of Africa.", "The Alps are in Europe.",
    ),
    (CONTINENT, "Asia"): ("Asia is the largest continent.", "The highest mountain is in Asia.", "Rice grows in Asia."),
    (CONTINENT, "Africa"): ("The Nile flows through Africa.", "Lions live in Africa.", "Africa has large deserts."),
    (CONTINENT, "South America"): (
        "The Amazon flows through South America.", "The Andes are in South America.",
    ),
    (CONTINENT, "North America"): ("Canada is in North America.", "North America lies north of South America."),
}  # fmt: skip
