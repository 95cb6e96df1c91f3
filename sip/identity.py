"""Who is shown as the caller, to whom (RFC 3325, RFC 3261 section 8.1.1.3, RFC 5031)."""

from __future__ import annotations

from comms.directory import Directory
from sip.call import dialplan
from sip.call.model import Invite
from sip.core.errors import ParseError
from sip.core.message import Request
from sip.core.uri import NameAddr, TelUri, quote

_MAX_NAME = 80


def caller_of(request: Request, directory: Directory) -> tuple[str | None, str]:
    """Return number (E.164) and name of a caller from the public network.

    P-Asserted-Identity of the trunk is believed before From. No number where the caller withholds
    it (RFC 3323 Privacy, anonymous.invalid).
    """
    if "id" in {value.strip().lower() for value in (request.get("Privacy") or "").split(";")}:
        return None, ""
    values = request.get_all("P-Asserted-Identity")
    addresses = []
    for value in values:
        try:
            addresses.append(NameAddr.parse(value))
        except ParseError:
            continue
    addresses.append(request.from_)
    for address in addresses:
        uri = address.parsed
        user = uri.digits if isinstance(uri, TelUri) else getattr(uri, "username", None)
        number = dialplan.digits(user or "")
        if number.lstrip("+").isdigit():
            return dialplan.to_e164(number, directory), (address.display or "")[:_MAX_NAME]
    return None, ""


def identity_headers(
    invite: Invite, directory: Directory
) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """Return From, To and further headers of an INVITE that we send.

    A trunk gets E.164 numbers and P-Asserted-Identity; a device of the house gets what its display
    can show and what it can dial back.
    """
    target = invite.target
    trunk = target.trunk
    number = invite.from_number
    if trunk is None:
        user = number or "anonymous"
        name = f"{quote(invite.from_name)} " if invite.from_name else ""
        from_ = f"{name}<sip:{user}@{directory.domain}>"
        to = f"<sip:{target.device or target.number}@{directory.domain}>"
        headers: tuple[tuple[str, str], ...] = ()
        if number:
            headers = (("P-Asserted-Identity", from_),)
        return from_, to, headers
    domain = trunk.domain or directory.domain
    shown = number if number and number.startswith("+") else None
    if shown is None and number:
        shown = dialplan.direct_number(number, directory)
    shown = shown or trunk.main_number or directory.head_number + "0"
    identity = f"<sip:{shown}@{domain};user=phone>"
    to = f"<sip:{target.number}@{domain};user=phone>"
    headers = (("P-Asserted-Identity", identity),)
    if invite.emergency:
        headers += (("Priority", "emergency"),)
    return identity, to, headers
