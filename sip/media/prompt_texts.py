"""What the house says to callers, in German and English.

`{city}` is the city's name. A text has no abbreviations and writes digits as words where a voice
would stumble. Names are kebab-case; queues, menus and the dialling plan refer to them.
"""

from __future__ import annotations

from typing import Final

LANGUAGES: Final = ("de", "en")

#: positions in a queue that are said exactly; beyond them `position-many`
LAST_SPOKEN_POSITION: Final = 20

_ORDINALS_DE = (
    "erster",
    "zweiter",
    "dritter",
    "vierter",
    "fünfter",
    "sechster",
    "siebter",
    "achter",
    "neunter",
    "zehnter",
    "elfter",
    "zwölfter",
    "dreizehnter",
    "vierzehnter",
    "fünfzehnter",
    "sechzehnter",
    "siebzehnter",
    "achtzehnter",
    "neunzehnter",
    "zwanzigster",
)
_ORDINALS_EN = (
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
    "twentieth",
)

TEXTS: Final[dict[str, dict[str, str]]] = {
    "greeting": {
        "de": "Guten Tag. Sie sind mit der Stadtverwaltung {city} verbunden. "
        "Wir sind gleich für Sie da.",
        "en": "Welcome to the city of {city}. Someone will be with you shortly.",
    },
    "greeting-buergertelefon": {
        "de": "Herzlich willkommen beim Bürgertelefon der Stadt {city}.",
        "en": "Welcome to the citizens' line of the city of {city}.",
    },
    "greeting-zentrale": {
        "de": "Guten Tag. Sie haben die Telefonzentrale der Stadt {city} erreicht. "
        "Wir verbinden Sie gleich.",
        "en": "Hello. This is the switchboard of the city of {city}. "
        "We will connect you in a moment.",
    },
    "greeting-kfz": {
        "de": "Guten Tag. Hier ist die Kfz-Zulassung der Stadt {city}. "
        "Bitte halten Sie Ihr Kennzeichen bereit.",
        "en": "Hello. This is the vehicle registration office of the city of {city}. "
        "Please have your number plate at hand.",
    },
    "greeting-migration": {
        "de": "Guten Tag. Hier ist die Ausländerbehörde der Stadt {city}. "
        "Bitte halten Sie Ihr Aktenzeichen bereit.",
        "en": "Hello. This is the immigration office of the city of {city}. "
        "Please have your file number at hand.",
    },
    "menu-buergertelefon": {
        "de": "Für Ausweis und Pass drücken Sie bitte die Eins. "
        "Für Fahrzeuge die Zwei. Für Wohnsitz und Meldewesen die Drei. "
        "Wenn Sie mit einem Menschen sprechen möchten, drücken Sie die Null "
        "oder bleiben Sie einfach in der Leitung.",
        "en": "For identity cards and passports, please press one. "
        "For vehicles, press two. For residence and registration, press three. "
        "To speak to a person, press zero or simply stay on the line.",
    },
    "matter-passport": {
        "de": "Sie haben Ausweis und Pass gewählt. Einen Moment bitte.",
        "en": "You have chosen identity cards and passports. One moment please.",
    },
    "matter-vehicles": {
        "de": "Sie haben Fahrzeuge gewählt. Wir verbinden Sie mit der Kfz-Zulassung.",
        "en": "You have chosen vehicles. We are connecting you to vehicle registration.",
    },
    "matter-residence": {
        "de": "Sie haben Wohnsitz und Meldewesen gewählt. Einen Moment bitte.",
        "en": "You have chosen residence and registration. One moment please.",
    },
    "matter-person": {
        "de": "Wir verbinden Sie mit einem Menschen. Einen Moment bitte.",
        "en": "We are connecting you to a person. One moment please.",
    },
    "please-wait": {
        "de": "Zurzeit sind alle Plätze besetzt. Bitte bleiben Sie in der Leitung. "
        "Ihr Anruf wird angenommen, sobald jemand frei ist.",
        "en": "All of our staff are busy at the moment. Please stay on the line. "
        "Your call will be answered as soon as someone is free.",
    },
    "comfort": {
        "de": "Danke für Ihre Geduld. Ihr Platz in der Warteschlange bleibt Ihnen erhalten.",
        "en": "Thank you for your patience. You are keeping your place in the queue.",
    },
    "closed": {
        "de": "Sie rufen außerhalb unserer Sprechzeiten an. "
        "Bitte versuchen Sie es zu einer anderen Zeit noch einmal. Auf Wiederhören.",
        "en": "You are calling outside our opening hours. "
        "Please try again at another time. Goodbye.",
    },
    "queue-full": {
        "de": "Zurzeit warten sehr viele Anrufende. "
        "Bitte rufen Sie später noch einmal an. Auf Wiederhören.",
        "en": "A great many callers are waiting at the moment. Please call again later. Goodbye.",
    },
    "unknown-number": {
        "de": "Diese Rufnummer ist nicht vergeben. Bitte prüfen Sie die Nummer.",
        "en": "The number you have dialled is not in use. Please check the number.",
    },
    "busy": {
        "de": "Der gewünschte Anschluss ist besetzt. Bitte versuchen Sie es später noch einmal.",
        "en": "The line you have called is busy. Please try again later.",
    },
    "unreachable": {
        "de": "Die gewünschte Person ist zurzeit nicht erreichbar. "
        "Bitte versuchen Sie es später noch einmal.",
        "en": "The person you are calling cannot be reached at the moment. Please try again later.",
    },
    "not-permitted": {
        "de": "Diese Rufnummer ist von Ihrem Anschluss aus nicht freigegeben.",
        "en": "Your line is not permitted to call this number.",
    },
    "fault": {
        "de": "Ihr Anruf kann wegen einer technischen Störung gerade nicht verbunden werden. "
        "Bitte versuchen Sie es in einigen Minuten noch einmal.",
        "en": "Because of a technical fault your call cannot be connected right now. "
        "Please try again in a few minutes.",
    },
    "emergency-unknown-site": {
        "de": "Der Standort dieses Telefons ist nicht bekannt. "
        "Nennen Sie der Leitstelle bitte zuerst, wo Sie sind.",
        "en": "The location of this telephone is not known. "
        "Please tell the operator first where you are.",
    },
    "position-many": {
        "de": "Vor Ihnen warten noch mehr als zwanzig Anrufende. Bitte haben Sie etwas Geduld.",
        "en": "More than twenty callers are waiting before you. Please be patient.",
    },
    **{
        f"position-{number}": {
            "de": "Sie sind die nächste Person in der Warteschlange."
            if number == 1
            else f"Sie sind {ordinal_de} in der Warteschlange.",
            "en": "You are the next caller in the queue."
            if number == 1
            else f"You are {ordinal_en} in the queue.",
        }
        for number, (ordinal_de, ordinal_en) in enumerate(
            zip(_ORDINALS_DE, _ORDINALS_EN, strict=True), 1
        )
    },
}
