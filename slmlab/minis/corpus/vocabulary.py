"""The words of the five languages, with gender, article and forms."""

from dataclasses import dataclass

LANGUAGES = {"en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian"}


@dataclass(frozen=True)
class Thing:
    noun: dict[str, str]  # code -> noun
    gender: dict[str, str]  # "m" "f", in German also "n"
    definite: dict[str, str]  # "the lamp", German in the nominative
    article: dict[str, str]  # indefinite, of the Romance languages


@dataclass(frozen=True)
class Adjective:
    plain: dict[str, str]  # English; German without an ending
    of_gender: dict[str, dict[str, str]]  # French, Spanish, Italian: code -> gender -> form
    before_french_noun: bool


def _things() -> tuple[Thing, ...]:
    found = []
    for row in filter(str.strip, _THINGS.splitlines()):
        english, *others = (cell.strip() for cell in row.split(","))
        noun, gender, definite, article = {"en": english}, {}, {"en": f"the {english}"}, {}
        for code, cell in zip(("de", "fr", "es", "it"), others, strict=True):
            gender[code], with_article, *indefinite = cell.split("|")
            if "'" in with_article:
                noun[code] = with_article.partition("'")[2]
            else:
                noun[code] = with_article.partition(" ")[2]
            definite[code] = with_article
            article[code] = (
                indefinite[0] if indefinite else {"m": "un", "f": "une" if code == "fr" else "una"}.get(gender[code])
            )
        found.append(Thing(noun, gender, definite, article))
    return tuple(found)


# English, then gender|with the definite article[|indefinite article] in German, French, Spanish, Italian.
_THINGS = """
    lamp, f|die Lampe, f|la lampe, f|la lámpara, f|la lampada
    book, n|das Buch, m|le livre, m|el libro, m|il libro
    table, m|der Tisch, f|la table, f|la mesa, m|il tavolo
    chair, m|der Stuhl, f|la chaise, f|la silla, f|la sedia
    cup, f|die Tasse, f|la tasse, f|la taza, f|la tazza
    flower, f|die Blume, f|la fleur, f|la flor, m|il fiore
    hat, m|der Hut, m|le chapeau, m|el sombrero, m|il cappello
    shirt, n|das Hemd, f|la chemise, f|la camisa, f|la camicia
    bag, f|die Tasche, m|le sac, m|el bolso, f|la borsa
    ball, m|der Ball, m|le ballon, m|el balón, m|il pallone
    box, f|die Kiste, f|la boîte, f|la caja, f|la scatola
    dog, m|der Hund, m|le chien, m|el perro, m|il cane
    cat, f|die Katze, m|le chat, m|el gato, m|il gatto
    bird, m|der Vogel, m|l'oiseau, m|el pájaro, m|l'uccello
    apple, m|der Apfel, f|la pomme, f|la manzana, f|la mela
    key, m|der Schlüssel, f|la clé, f|la llave, f|la chiave
    boat, n|das Boot, m|le bateau, m|el barco, f|la barca
    mirror, m|der Spiegel, m|le miroir, m|el espejo, m|lo specchio|uno
    umbrella, m|der Regenschirm, m|le parapluie, m|el paraguas, m|l'ombrello
    letter, m|der Brief, f|la lettre, f|la carta, f|la lettera
"""
THINGS = _things()


def _adjectives() -> tuple[Adjective, ...]:
    found = []
    for row in filter(str.strip, _ADJECTIVES.splitlines()):
        english, german, french, spanish, italian, *before = (cell.strip() for cell in row.split(","))
        forms = {code: cell.split("|") for code, cell in (("fr", french), ("es", spanish), ("it", italian))}
        of_gender = {code: {"m": cells[0], "f": cells[-1]} for code, cells in forms.items()}
        found.append(Adjective({"en": english, "de": german}, of_gender, bool(before)))
    return tuple(found)


# English, German, then masculine|feminine in French, Spanish, Italian; "before" where French has it before the noun.
_ADJECTIVES = """
    red, rot, rouge, rojo|roja, rosso|rossa
    white, weiß, blanc|blanche, blanco|blanca, bianco|bianca
    black, schwarz, noir|noire, negro|negra, nero|nera
    green, grün, vert|verte, verde, verde
    yellow, gelb, jaune, amarillo|amarilla, giallo|gialla
    grey, grau, gris|grise, gris, grigio|grigia
    small, klein, petit|petite, pequeño|pequeña, piccolo|piccola, before
    big, groß, grand|grande, grande, grande, before
"""
ADJECTIVES = _adjectives()


def _rows(table: str) -> tuple[dict[str, str], ...]:
    rows = [[cell.strip() for cell in row.split(",")] for row in table.splitlines() if row.strip()]
    return tuple(dict(zip(LANGUAGES, row, strict=True)) for row in rows)


AGENTS = _rows("""
    the man, der Mann, l'homme, el hombre, l'uomo
    the woman, die Frau, la femme, la mujer, la donna
    the boy, der Junge, le garçon, el chico, il ragazzo
    the girl, das Mädchen, la fille, la chica, la ragazza
    the child, das Kind, l'enfant, el niño, il bambino
    the teacher, der Lehrer, le professeur, el profesor, il professore
    my brother, mein Bruder, mon frère, mi hermano, mio fratello
    my sister, meine Schwester, ma sœur, mi hermana, mia sorella
    the doctor, der Arzt, le médecin, el médico, il medico
    our neighbour, unser Nachbar, notre voisin, nuestro vecino, il nostro vicino
""")
VERBS = _rows("""
    sees, sieht, voit, ve, vede
    buys, kauft, achète, compra, compra
    finds, findet, trouve, encuentra, trova
    has, hat, a, tiene, ha
    wants, will, veut, quiere, vuole
    draws, zeichnet, dessine, dibuja, disegna
    forgets, vergisst, oublie, olvida, dimentica
    sells, verkauft, vend, vende, vende
""")
PLACES = _rows("""
    in the garden, im Garten, dans le jardin, en el jardín, in giardino
    in the kitchen, in der Küche, dans la cuisine, en la cocina, in cucina
    at school, in der Schule, à l'école, en la escuela, a scuola
    at the market, auf dem Markt, au marché, en el mercado, al mercato
    in the city, in der Stadt, dans la ville, en la ciudad, in città
    at home, zu Hause, à la maison, en casa, a casa
    in the park, im Park, dans le parc, en el parque, nel parco
    in the street, auf der Straße, dans la rue, en la calle, per strada
""")
