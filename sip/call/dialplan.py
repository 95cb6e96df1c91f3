"""What a dialled number means.

Numbers are compared in E.164 (ITU-T E.164) or as internal extensions. Emergency numbers are
decided before everything else, so that no rule can stand in their way.
"""

from __future__ import annotations

import msgspec

from comms.directory import Device, Directory, Trunk

EMERGENCY_NUMBERS = frozenset({"110", "112"})
#: service URN (RFC 5031) by number, and back
EMERGENCY_URNS = {"urn:service:sos": "112", "urn:service:sos.police": "110"}

_KEPT = frozenset("0123456789*#")


class ToPerson(msgspec.Struct, frozen=True):
    """Ring all devices of a person."""

    person: str


class ToQueue(msgspec.Struct, frozen=True):
    """Let the call wait in a queue."""

    queue: str


class ToTrunk(msgspec.Struct, frozen=True):
    """Call the public network; trunks are tried in order."""

    number: str
    trunks: tuple[Trunk, ...]
    emergency: bool = False


class ToEcho(msgspec.Struct, frozen=True):
    """Answer and send the caller's audio back, for testing a line."""


class ToAnnouncement(msgspec.Struct, frozen=True):
    """Play a prompt as early media, then refuse with `status`."""

    prompt: str
    status: int


class Refused(msgspec.Struct, frozen=True):
    """No way to dial that from here."""

    status: int
    reason: str


Route = ToPerson | ToQueue | ToTrunk | ToEcho | ToAnnouncement | Refused


def digits(text: str) -> str:
    """Return `text` without the separators that people write, keeping a leading plus.

    >>> digits("+49 (221) 4710-150")
    '+492214710150'
    """
    kept = "".join(c for c in text if c in _KEPT)
    return "+" + kept if text.lstrip().startswith("+") else kept


def to_e164(number: str, directory: Directory) -> str:
    """Return a number as dialled in the public network in E.164 form.

    National (`0221…`), international (`00…`) and local spellings are understood; emergency and
    other short numbers (fewer than four digits) stay as they are.
    """
    if number.startswith("+"):
        return number
    if number.startswith("00"):
        return "+" + number[2:]
    if number.startswith("0"):
        return "+" + directory.country_code + number[1:]
    if len(number) < 4:
        return number
    return "+" + directory.country_code + directory.area_code + number


def extension_of(number: str, directory: Directory) -> str | None:
    """Return the extension behind one of the house's own public numbers, None if it is not ours.

    The head number alone or followed by `0` is the main extension (the switchboard).
    """
    head = directory.head_number
    if not head:
        return None
    e164 = to_e164(number, directory)
    if not e164.startswith(head):
        return None
    rest = e164[len(head) :]
    return directory.main_extension if rest in ("", "0") else rest


def direct_number(extension: str, directory: Directory) -> str | None:
    """Return the E.164 number under which an extension is reached from outside."""
    return directory.head_number + extension if directory.head_number and extension else None


def _internal(number: str, directory: Directory) -> Route:
    entry = directory.numbers.get(number)
    if entry is None:
        return ToAnnouncement("unknown-number", 404)
    match entry.kind:
        case "person":
            return ToPerson(entry.target)
        case "queue":
            return ToQueue(entry.target)
        case "echo":
            return ToEcho()
        case "announcement":
            return ToAnnouncement(entry.target, 480)


def route_from_trunk(user: str, directory: Directory) -> Route:
    """Decide for a call that came in from the public network.

    It only ever reaches numbers of the house: a call from outside is never sent out again.
    """
    number = digits(user)
    extension = extension_of(number, directory)
    if extension is None:
        if number in directory.numbers and not number.startswith("+"):
            extension = number
        else:
            return ToAnnouncement("unknown-number", 404)
    return _internal(extension, directory)


def route_from_device(user: str, device: Device | None, directory: Directory) -> Route:
    """Decide for a call that a device of the house makes.

    `device` is None for calls the house makes on somebody's behalf. A shared desk that nobody has
    logged in to reaches emergency and internal numbers only.
    """
    number = EMERGENCY_URNS.get(user, digits(user))
    outside = directory.outside_prefix
    plain = number
    if outside and number.startswith(outside) and number[len(outside) :] in EMERGENCY_NUMBERS:
        plain = number[len(outside) :]
    if plain in EMERGENCY_NUMBERS:
        return ToTrunk(plain, directory.trunks, emergency=True)
    if not number:
        return ToAnnouncement("unknown-number", 404)
    if number in directory.numbers:
        return _internal(number, directory)
    if number.startswith("+"):
        public = number
    elif outside and number.startswith(outside) and len(number) > len(outside) + 2:
        public = to_e164(number[len(outside) :], directory)
    else:
        return ToAnnouncement("unknown-number", 404)
    extension = extension_of(public, directory)
    if extension is not None:
        return _internal(extension, directory)
    if device is not None and device.person is None:
        return Refused(403, "shared-desk")
    if not directory.trunks:
        return Refused(503, "no-trunk")
    return ToTrunk(public, directory.trunks)
