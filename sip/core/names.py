"""The names SIP uses: header fields and how they may be written, methods, reason phrases."""

from __future__ import annotations

from typing import Final

#: The reason phrase that goes with a status.
REASONS: Final[dict[int, str]] = {
    100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued",
    183: "Session Progress", 199: "Early Dialog Terminated", 200: "OK", 202: "Accepted",
    204: "No Notification", 300: "Multiple Choices", 301: "Moved Permanently",
    302: "Moved Temporarily", 305: "Use Proxy", 380: "Alternative Service", 400: "Bad Request",
    401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 406: "Not Acceptable", 407: "Proxy Authentication Required",
    408: "Request Timeout", 410: "Gone", 412: "Conditional Request Failed",
    413: "Request Entity Too Large", 414: "Request-URI Too Long", 415: "Unsupported Media Type",
    416: "Unsupported URI Scheme", 420: "Bad Extension", 421: "Extension Required",
    422: "Session Interval Too Small", 423: "Interval Too Brief", 429: "Provide Referrer Identity",
    430: "Flow Failed", 433: "Anonymity Disallowed", 439: "First Hop Lacks Outbound Support",
    480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 482: "Loop Detected",
    483: "Too Many Hops", 484: "Address Incomplete", 485: "Ambiguous", 486: "Busy Here",
    487: "Request Terminated", 488: "Not Acceptable Here", 489: "Bad Event",
    491: "Request Pending", 493: "Undecipherable", 494: "Security Agreement Required",
    500: "Server Internal Error", 501: "Not Implemented", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Server Time-out", 505: "Version Not Supported",
    513: "Message Too Large", 600: "Busy Everywhere", 603: "Decline",
    604: "Does Not Exist Anywhere", 606: "Not Acceptable", 607: "Unwanted",
}  # fmt: skip

#: Compact forms (RFC 3261 §7.3.3, RFC 3515, 3841, 3892, 4028, 6665, 8224).
COMPACT: Final[dict[str, str]] = {
    "a": "accept-contact", "b": "referred-by", "c": "content-type", "d": "request-disposition",
    "e": "content-encoding", "f": "from", "i": "call-id", "j": "reject-contact", "k": "supported",
    "l": "content-length", "m": "contact", "o": "event", "r": "refer-to", "s": "subject",
    "t": "to", "u": "allow-events", "v": "via", "x": "session-expires", "y": "identity",
}  # fmt: skip

_NAMES: Final = (
    "Accept", "Accept-Contact", "Accept-Encoding", "Accept-Language", "Alert-Info", "Allow",
    "Allow-Events", "Authentication-Info", "Authorization", "Call-ID", "Call-Info", "Contact",
    "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length",
    "Content-Type", "CSeq", "Date", "Diversion", "Error-Info", "Event", "Expires", "Feature-Caps",
    "Flow-Timer", "From", "Geolocation", "History-Info", "Identity", "In-Reply-To", "Join",
    "Max-Forwards", "Min-Expires", "Min-SE", "MIME-Version", "Organization",
    "P-Access-Network-Info", "P-Asserted-Identity", "P-Called-Party-ID", "P-Charging-Vector",
    "P-Early-Media", "P-Preferred-Identity", "Path", "Priority", "Privacy", "Proxy-Authenticate",
    "Proxy-Authorization", "Proxy-Require", "RAck", "Reason", "Record-Route", "Refer-Sub",
    "Refer-To", "Referred-By", "Reject-Contact", "Remote-Party-ID", "Replaces", "Reply-To",
    "Request-Disposition", "Require", "Retry-After", "Route", "RSeq", "Security-Client",
    "Security-Server", "Security-Verify", "Server", "Service-Route", "Session-Expires",
    "SIP-ETag", "SIP-If-Match", "Subject", "Subscription-State", "Supported", "Target-Dialog",
    "Timestamp", "To", "Unsupported", "User-Agent", "Via", "Warning", "WWW-Authenticate",
)  # fmt: skip

#: Every usual way to write a name, to its key.
KEYS: Final[dict[str, str]] = {}
#: A key, to the way we write the name.
PRETTY: Final[dict[str, str]] = {}
for _name in _NAMES:
    _key = _name.lower()
    PRETTY[_key] = _name
    for _spelling in (_name, _key, _name.upper(), _name.title()):
        KEYS[_spelling] = _key
for _short, _key in COMPACT.items():
    KEYS[_short] = KEYS[_short.upper()] = _key

#: Headers whose value is a comma list (RFC 3261 §7.3.1 and the RFCs that define them).
LIST_HEADERS: Final = frozenset({
    "accept", "accept-contact", "accept-encoding", "accept-language", "alert-info", "allow",
    "allow-events", "call-info", "contact", "content-encoding", "content-language", "diversion",
    "error-info", "feature-caps", "geolocation", "history-info", "in-reply-to",
    "p-asserted-identity", "p-preferred-identity", "path", "proxy-require", "reason",
    "record-route", "reject-contact", "require", "route", "security-client", "security-server",
    "security-verify", "service-route", "supported", "unsupported", "via", "warning",
})  # fmt: skip

#: Headers that may stand only once (RFC 3261 §7.3.1; RFC 4475 §3.3.8).
SINGLE_HEADERS: Final = ("from", "to", "call-id", "cseq", "max-forwards", "content-length")

#: Every method that some RFC defines; others are answered 501.
METHODS: Final = frozenset({
    "INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "PRACK", "UPDATE", "INFO",
    "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE", "REFER",
})  # fmt: skip


def header_key(name: str) -> str:
    """The long, lower-case form of a header name."""
    key = KEYS.get(name)
    if key is None:
        key = name.strip().lower()
        key = COMPACT.get(key, key)
    return key
