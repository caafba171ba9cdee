"""Sentences to be spoken: small grammars of our own in six languages, drawn at random.

What is said matters little; that many sounds follow each other in many orders does. So nothing here
tries to make sense beyond grammar.
"""

from typing import NamedTuple

import numpy as np


class Grammar(NamedTuple):
    """Phrases that combine freely to "subject verb object adverbial"."""

    subjects: tuple[str, ...]
    verbs: tuple[str, ...]
    objects: tuple[str, ...]
    adverbials: tuple[str, ...]
    exclamations: tuple[str, ...]


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|"))


# Keys are espeak-ng's names of languages.
GRAMMARS = {
    "en": Grammar(
        _phrases(
            "the old fisherman|my youngest sister|a very tall stranger|nobody in the village|"
            "the orchestra|your neighbour's dog|the girl with the red coat|every second teacher|"
            "our train driver|the queen of the valley|two quiet children|an angry merchant"
        ),
        _phrases(
            "found|has never forgotten|is looking for|will certainly lose|painted|wanted|carried|"
            "should have thrown away|keeps hiding|dropped|could hardly believe|sold"
        ),
        _phrases(
            "the golden key|five green apples|that terrible letter|a box full of feathers|the map|"
            "our last chance|some warm bread|the wooden bridge|his father's watch|the whole truth|"
            "a jar of honey|those noisy geese"
        ),
        _phrases(
            "before sunrise|on the other side of the river|without a single word|again and again|"
            "in the middle of the storm|for no good reason|under the kitchen table|last Thursday|"
            "while everybody was asleep|as quickly as possible|near the harbour|with great care"
        ),
        _phrases("oh no|well done|stop it|listen|what a day|please|good heavens|never mind"),
    ),
    "de": Grammar(
        _phrases(
            "der alte Müller|meine kleine Schwester|ein fremder Reiter|niemand im Dorf|die Köchin|"
            "das müde Kind|unser Nachbar|die Wirtin am Fluss|jeder zweite Schüler|der Geiger"
        ),
        _phrases("sucht|findet|verkauft|versteckt|zerbricht|malt|trägt|vergisst|holt|verliert"),
        _phrases(
            "den goldenen Schlüssel|fünf grüne Äpfel|einen schrecklichen Brief|das warme Brot|"
            "die hölzerne Brücke|unsere letzte Hoffnung|das ganze Geheimnis|einen Topf voll Honig"
        ),
        _phrases(
            "vor Sonnenaufgang|mitten im Sturm|ohne ein Wort|immer wieder|jenseits der Hügel|"
            "unter dem Küchentisch|so schnell wie möglich|in aller Stille"
        ),
        _phrases("ach nein|hör auf|wie schön|bitte|du meine Güte|pass auf"),
    ),
    "fr": Grammar(
        _phrases(
            "le vieux pêcheur|ma petite sœur|un inconnu très grand|personne au village|la reine|"
            "le chien du voisin|chaque professeur|notre chauffeur|deux enfants calmes|la chanteuse"
        ),
        _phrases("cherche|trouve|vend|cache|porte|oublie|peint|perd|regarde|emporte"),
        _phrases(
            "la clé dorée|cinq pommes vertes|cette lettre terrible|une boîte pleine de plumes|"
            "le pont de bois|notre dernière chance|du pain chaud|toute la vérité"
        ),
        _phrases(
            "avant l'aube|au milieu de la tempête|sans un mot|encore et encore|sous la table|"
            "de l'autre côté de la rivière|aussi vite que possible|avec grand soin"
        ),
        _phrases("oh non|bravo|arrête|écoute|quelle journée|s'il te plaît"),
    ),
    "es": Grammar(
        _phrases(
            "el viejo pescador|mi hermana menor|un extraño muy alto|nadie en el pueblo|la reina|"
            "el perro del vecino|cada maestro|nuestro conductor|dos niños tranquilos|la cantante"
        ),
        _phrases("busca|encuentra|vende|esconde|lleva|olvida|pinta|pierde|mira|rompe"),
        _phrases(
            "la llave dorada|cinco manzanas verdes|esa carta terrible|una caja llena de plumas|"
            "el puente de madera|nuestra última esperanza|pan caliente|toda la verdad"
        ),
        _phrases(
            "antes del amanecer|en medio de la tormenta|sin una palabra|una y otra vez|"
            "al otro lado del río|bajo la mesa|lo más rápido posible|con mucho cuidado"
        ),
        _phrases("ay no|muy bien|basta|escucha|qué día|por favor"),
    ),
    "it": Grammar(
        _phrases(
            "il vecchio pescatore|mia sorella minore|uno straniero molto alto|nessuno in paese|"
            "la regina|il cane del vicino|ogni maestro|due bambini tranquilli|la cantante"
        ),
        _phrases("cerca|trova|vende|nasconde|porta|dimentica|dipinge|perde|guarda|rompe"),
        _phrases(
            "la chiave dorata|cinque mele verdi|quella lettera terribile|una scatola di piume|"
            "il ponte di legno|la nostra ultima speranza|il pane caldo|tutta la verità"
        ),
        _phrases(
            "prima dell'alba|in mezzo alla tempesta|senza una parola|ancora e ancora|"
            "dall'altra parte del fiume|sotto il tavolo|il più presto possibile|con grande cura"
        ),
        _phrases("oh no|bravo|basta|ascolta|che giornata|per favore"),
    ),
    "pl": Grammar(
        _phrases(
            "stary rybak|moja młodsza siostra|wysoki nieznajomy|nikt w wiosce|królowa|"
            "pies sąsiada|każdy nauczyciel|nasz kierowca|śpiewaczka"
        ),
        _phrases("szuka|sprzedaje|chowa|niesie|maluje|gubi|ogląda|łamie"),
        _phrases(
            "złoty klucz|pięć zielonych jabłek|straszny list|pudełko pełne piór|drewniany most|"
            "ciepły chleb|całą prawdę|słoik miodu"
        ),
        _phrases(
            "przed świtem|w środku burzy|bez słowa|raz po raz|po drugiej stronie rzeki|"
            "pod stołem|jak najszybciej|bardzo ostrożnie"
        ),
        _phrases("o nie|brawo|przestań|słuchaj|co za dzień|proszę"),
    ),
}


def draw_text(rng: np.random.Generator, language: str) -> str:
    """One sentence, often with an exclamation before it; a statement, a question or an exclamation."""
    grammar = GRAMMARS[language]
    subject, verb, object_, adverbial = (str(rng.choice(part)) for part in grammar[:4])
    words = [subject, verb, object_]
    if rng.random() < 0.6:
        words.append(adverbial)
    sentence = " ".join(words) + str(rng.choice([".", ".", "?", "!"]))
    if rng.random() < 0.3:
        return f"{rng.choice(grammar.exclamations)}! {sentence}"
    return sentence
