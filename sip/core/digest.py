"""Digest authentication (RFC 7616, 8760, 2617): both sides.

The server side is stateless except for the replay tracker: a nonce carries its time and a keyed
checksum, so that any worker that knows the key can check it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, Literal

from sip.core.errors import ParseError
from sip.core.uri import SipUri, parse_uri, quote, unquote

#: Best first (RFC 8760 §2.4); every name also with "-sess".
ALGORITHMS: Final = ("SHA-512-256", "SHA-256", "MD5")

#: One parameter and its comma. Possessive quantifiers cannot back-track.
_AUTH_PARAM: Final = re.compile(
    r"""[ \t,]*+([A-Za-z0-9\-.!%*_+`'~]++)[ \t]*+=[ \t]*+"""
    r"""("(?:[^"\\]|\\.)*+"|[^\s,"]++)[ \t]*+(?:,[ \t,]*+|$)"""
).finditer

#: What nearly everybody sends: names in lower case, no comma or backslash in a quoted string.
_USUAL_AUTH: Final = re.compile(
    r"""(?:[a-z]++=(?:"[^",\\]*+"|[^\s",\\=]++)(?:, ?+(?=[a-z])|$))*+"""
).fullmatch
_USUAL_AUTH_PARAM: Final = re.compile(r"""([a-z]++)="?+([^",]*+)"?+(?:, ?+|$)""").findall

Freshness = Literal["fresh", "stale", "invalid"]


def _sha512_256(data: bytes) -> str:
    return hashlib.new("sha512_256", data).hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


_HASHES: Final[dict[str, Callable[[bytes], str]]] = {
    "MD5": _md5,
    "SHA-256": _sha256,
    "SHA-512-256": _sha512_256,
}


def _hash_of(algorithm: str) -> Callable[[bytes], str] | None:
    name = algorithm.upper()
    return _HASHES.get(name.removesuffix("-SESS"))


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def ha1(user: str, realm: str, password: str, algorithm: str = "MD5") -> str:
    """The stored secret of an account: hash of `user:realm:password` as hex.

    `algorithm` is MD5, SHA-256 or SHA-512-256; ValueError for another one.
    """
    digest = _hash_of(algorithm)
    if digest is None:
        raise ValueError(f"unknown digest algorithm {algorithm}")
    return digest(_encode(f"{user}:{realm}:{password}"))


def parse_auth(value: str) -> tuple[str, dict[str, str]]:
    """Scheme (lower case) and parameters (names lower case, values without quotes) of a header.

    Reads Authorization, WWW-Authenticate and their Proxy- forms. Raises ParseError.
    """
    scheme, _, rest = value.strip().partition(" ")
    params: dict[str, str] = {}
    if _USUAL_AUTH(rest):
        pairs = _USUAL_AUTH_PARAM(rest)
        params = dict(pairs)
        if len(params) == len(pairs):
            return scheme.lower(), params
        raise ParseError("sip.parse.auth", "a parameter stands twice")
    at = 0
    for match in _AUTH_PARAM(rest):
        if match.start() != at:
            break
        at = match.end()
        name, text = match.groups()
        name = name.lower()
        if name in params:
            raise ParseError("sip.parse.auth", "a parameter stands twice")
        params[name] = unquote(text) if text[:1] == '"' else text
    if at != len(rest):
        raise ParseError("sip.parse.auth", "malformed credentials")
    return scheme.lower(), params


class Credentials:
    """What a client sent in Authorization or Proxy-Authorization."""

    __slots__ = (
        "algorithm",
        "cnonce",
        "nc",
        "nonce",
        "opaque",
        "qop",
        "realm",
        "response",
        "uri",
        "username",
    )

    def __init__(self, params: dict[str, str]) -> None:
        get = params.get
        self.username = get("username", "")
        self.realm = get("realm", "")
        self.nonce = get("nonce", "")
        self.uri = get("uri", "")
        self.response = get("response", "")
        self.algorithm = get("algorithm", "MD5")
        self.cnonce = get("cnonce", "")
        #: eight hexadecimal digits as sent, empty without qop
        self.nc = get("nc", "")
        #: lower case; empty in the manner of RFC 2069
        self.qop = get("qop", "").lower()
        self.opaque = get("opaque", "")

    @classmethod
    def parse(cls, value: str) -> Credentials | None:
        """Parse a header value; None when the scheme is not Digest. Raises ParseError."""
        scheme, params = parse_auth(value)
        if scheme != "digest":
            return None
        for name in ("username", "realm", "nonce", "uri", "response"):
            if name not in params:
                raise ParseError("sip.parse.auth", f"no {name} in the credentials")
        return cls(params)

    @property
    def count(self) -> int:
        """The nonce count as number, 0 when there is none or it is malformed."""
        if len(self.nc) != 8:
            return 0
        try:
            return int(self.nc, 16)
        except ValueError:
            return 0


def _response(
    digest: Callable[[bytes], str],
    secret: str,
    *,
    sess: bool,
    nonce: str,
    nc: str,
    cnonce: str,
    qop: str,
    method: str,
    uri: str,
    body: bytes,
) -> str:
    """The request-digest of RFC 7616 §3.4.1 (of RFC 2069 without qop)."""
    if sess:
        secret = digest(_encode(f"{secret}:{nonce}:{cnonce}"))
    if qop == "auth-int":
        ha2 = digest(_encode(f"{method}:{uri}:{digest(body)}"))
    else:
        ha2 = digest(_encode(f"{method}:{uri}"))
    if qop:
        return digest(_encode(f"{secret}:{nonce}:{nc}:{cnonce}:{qop}:{ha2}"))
    return digest(_encode(f"{secret}:{nonce}:{ha2}"))


def verify(
    credentials: Credentials,
    method: str,
    uri: str | None,
    ha1: str,
    body: bytes = b"",
    *,
    allow_rfc2069: bool = False,
) -> bool:
    """Whether the credentials prove knowledge of `ha1`, which must be of their algorithm.

    `uri` is the Request-URI; the credentials' URI must name the same user and host (None skips
    that). Credentials without qop are refused unless `allow_rfc2069`. The nonce is not checked
    here, see `NonceIssuer.check` and `ReplayTracker.accept`.
    """
    digest = _hash_of(credentials.algorithm)
    if digest is None:
        return False
    if credentials.qop:
        if credentials.qop not in ("auth", "auth-int"):
            return False
        if not credentials.cnonce or not credentials.count:
            return False
    elif not allow_rfc2069:
        return False
    if uri is not None and credentials.uri != uri and not _same_resource(credentials.uri, uri):
        return False
    expected = _response(
        digest,
        ha1,
        sess=credentials.algorithm.upper().endswith("-SESS"),
        nonce=credentials.nonce,
        nc=credentials.nc,
        cnonce=credentials.cnonce,
        qop=credentials.qop,
        method=method,
        uri=credentials.uri,
        body=body,
    )
    return hmac.compare_digest(expected.encode(), _encode(credentials.response.lower()))


def _same_resource(left: str, right: str) -> bool:
    """Whether two URIs name the same user and host: phones differ in ports and parameters."""
    try:
        a, b = parse_uri(left), parse_uri(right)
    except ParseError:
        return False
    if isinstance(a, SipUri) and isinstance(b, SipUri):
        return a.username == b.username and a.host.lower() == b.host.lower()
    return a == b


class NonceIssuer:
    """Issues nonces that need no memory: time, counter, keyed checksum.

    `key` is the secret all workers share; `salt` tells the workers' nonces apart; `lifetime` is
    in seconds.
    """

    __slots__ = ("_counter", "_key", "_salt", "lifetime")

    def __init__(self, key: bytes, *, salt: bytes = b"", lifetime: float = 300.0) -> None:
        if not key:
            raise ValueError("the nonce key must not be empty")
        self._key = hashlib.blake2b(key, digest_size=32).digest()
        self._salt = hashlib.blake2b(salt, digest_size=3).hexdigest()
        self._counter = 0
        self.lifetime = lifetime

    def issue(self, now: float) -> str:
        """A new nonce; `now` is wall-clock time in seconds, the same on all workers."""
        self._counter = (self._counter + 1) & 0xFFFFFF
        text = f"{int(now * 16):012x}{self._salt}{self._counter:06x}"
        return text + self._mac(text)

    def check(self, nonce: str, now: float) -> Freshness:
        """Whether we issued the nonce and it may still be used."""
        if len(nonce) != 48:
            return "invalid"
        text, mac = nonce[:24], nonce[24:]
        if not hmac.compare_digest(_encode(mac), self._mac(text).encode()):
            return "invalid"
        issued = issued_at(nonce)
        if now - issued > self.lifetime or issued - now > self.lifetime:
            return "stale"
        return "fresh"

    def _mac(self, text: str) -> str:
        return hashlib.blake2b(_encode(text), key=self._key, digest_size=12).hexdigest()


def issued_at(nonce: str) -> float:
    """When a nonce was issued, in seconds; only for one that `check` did not call invalid."""
    return int(nonce[:12], 16) / 16


class ReplayTracker:
    """Remembers the nonce counts seen, with bounded memory.

    Counts may arrive slightly out of order (32 positions). When a nonce must be forgotten for
    lack of room, all nonces as old as it are refused from then on, so forgetting never permits a
    replay.
    """

    __slots__ = ("_floor", "_seen", "capacity")

    def __init__(self, capacity: int = 65_536) -> None:
        self.capacity = capacity
        #: nonce -> (highest count, bit mask of the 32 counts up to it)
        self._seen: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._floor = -1.0

    def __len__(self) -> int:
        return len(self._seen)

    def accept(self, nonce: str, count: int) -> Freshness:
        """Note that a nonce was used with a count, after the credentials were verified.

        `fresh`: go on. `invalid`: a replay, refuse. `stale`: the nonce is forgotten, challenge
        again with stale=true. A count of 0 (no qop) may be used once.
        """
        known = self._seen.get(nonce)
        if known is None:
            if issued_at(nonce) <= self._floor:
                return "stale"
            if len(self._seen) >= self.capacity:
                oldest, _ = self._seen.popitem(last=False)
                self._floor = max(self._floor, issued_at(oldest))
            self._seen[nonce] = (count, 1)
            return "fresh"
        highest, mask = known
        if count > highest:
            self._seen[nonce] = (count, ((mask << min(count - highest, 32)) | 1) & 0xFFFFFFFF)
            return "fresh"
        behind = highest - count
        if behind >= 32 or mask >> behind & 1:
            return "invalid"
        self._seen[nonce] = (highest, mask | 1 << behind)
        return "fresh"

    def expire(self, before: float) -> None:
        """Forget nonces issued before a time at which `NonceIssuer.check` calls them stale."""
        while self._seen:
            oldest = next(iter(self._seen))
            if issued_at(oldest) >= before:
                return
            del self._seen[oldest]


def challenges(
    realm: str,
    nonce: str,
    stale: bool = False,
    algorithms: Iterable[str] = ("SHA-256", "MD5"),
    *,
    qop: str = "auth",
) -> list[str]:
    """Header values for WWW-Authenticate or Proxy-Authenticate, one an algorithm, best first."""
    tail = ", stale=true" if stale else ""
    head = f"Digest realm={quote(realm)}, nonce={quote(nonce)}, qop={quote(qop)}, algorithm="
    return [f"{head}{algorithm}{tail}" for algorithm in algorithms]


def authorize(
    challenges: Iterable[str],
    method: str,
    uri: str,
    user: str,
    password: str,
    nc: int,
    cnonce: str,
    body: bytes = b"",
) -> str | None:
    """The Authorization (or Proxy-Authorization) value that answers the best challenge.

    None when no challenge is Digest with an algorithm and qop we know; unreadable ones are
    skipped. `nc` counts the uses of the nonce from 1; `cnonce` is an unguessable token.
    """
    best: dict[str, str] | None = None
    best_rank = len(ALGORITHMS)
    for value in challenges:
        try:
            scheme, params = parse_auth(value)
        except ParseError:
            continue
        name = params.get("algorithm", "MD5").upper().removesuffix("-SESS")
        if scheme != "digest" or name not in ALGORITHMS or "nonce" not in params:
            continue
        if params.get("qop") and not _choose_qop(params["qop"]):
            continue
        rank = ALGORITHMS.index(name)
        if rank < best_rank:
            best, best_rank = params, rank
    if best is None:
        return None
    algorithm = best.get("algorithm", "MD5")
    digest = _HASHES[ALGORITHMS[best_rank]]
    realm, nonce = best.get("realm", ""), best["nonce"]
    qop = _choose_qop(best.get("qop", ""))
    count = f"{nc:08x}"
    response = _response(
        digest,
        ha1(user, realm, password, ALGORITHMS[best_rank]),
        sess=algorithm.upper().endswith("-SESS"),
        nonce=nonce,
        nc=count,
        cnonce=cnonce,
        qop=qop,
        method=method,
        uri=uri,
        body=body,
    )
    parts = [
        f"Digest username={quote(user)}",
        f"realm={quote(realm)}",
        f"nonce={quote(nonce)}",
        f"uri={quote(uri)}",
        f'response="{response}"',
    ]
    if "algorithm" in best:
        parts.append(f"algorithm={algorithm}")
    if qop or algorithm.upper().endswith("-SESS"):
        parts.append(f"cnonce={quote(cnonce)}")
    if qop:
        parts += [f"qop={qop}", f"nc={count}"]
    if "opaque" in best:
        parts.append(f"opaque={quote(best['opaque'])}")
    return ", ".join(parts)


def _choose_qop(offered: str) -> str:
    """The quality of protection to use: auth before auth-int, "" when neither is offered."""
    names = [name.strip().lower() for name in offered.split(",")]
    return "auth" if "auth" in names else "auth-int" if "auth-int" in names else ""
