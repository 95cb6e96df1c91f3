"""The registrar's rules (RFC 3261 section 10.3, RFC 5626)."""

from __future__ import annotations

import pytest

from comms.settings import Sip as Limits
from sip.core.errors import ParseError
from sip.core.flow import Flow
from sip.core.message import Request
from sip.registrar import Binding, Registration, process

FLOW = Flow("udp", ("192.0.2.9", 5060), ("192.0.2.1", 5060))
LIMITS = Limits(max_contacts=3)
NOW = 1000.0


def register(
    *contacts: str, cseq: int = 1, call_id: str = "c", headers: tuple[tuple[str, str], ...] = ()
) -> Request:
    return Request(
        "REGISTER",
        "sip:musterstadt.example",
        [
            ("From", "<sip:201@musterstadt.example>;tag=1"),
            ("To", "<sip:201@musterstadt.example>"),
            ("Call-ID", call_id),
            ("CSeq", f"{cseq} REGISTER"),
            *(("Contact", contact) for contact in contacts),
            *headers,
        ],
    )


class Store(dict[str, Binding]):
    """The bindings of one account, kept as the location service keeps them."""

    def take(self, request: Request, now: float = NOW, flow: Flow = FLOW) -> Registration:
        result = process(request, flow, self, LIMITS, now)
        for key in result.remove:
            self.pop(key, None)
        for binding in result.store:
            self[binding.key] = binding
        return result


def contacts(result: Registration) -> list[str]:
    return [value for name, value in result.headers if name == "Contact"]


def test_a_contact_is_stored_with_its_flow_and_expiry() -> None:
    store = Store()
    result = store.take(register("<sip:201@192.0.2.1:5060>;expires=300"))
    assert result.status == 200
    assert contacts(result) == ["<sip:201@192.0.2.1:5060>;expires=300"]
    (binding,) = store.values()
    assert (binding.flow, binding.expires, binding.nat) == (FLOW, NOW + 300, False)


def test_several_devices_share_an_account() -> None:
    store = Store()
    store.take(register("<sip:201@192.0.2.1>", call_id="a"))
    result = store.take(register("<sip:201@192.0.2.2>", call_id="b"))
    assert len(contacts(result)) == 2


def test_without_contact_the_bindings_are_told() -> None:
    store = Store()
    store.take(register("<sip:201@192.0.2.1>;expires=300"))
    result = process(register(cseq=2), FLOW, store, LIMITS, NOW + 100)
    assert contacts(result) == ["<sip:201@192.0.2.1>;expires=200"]
    assert not result.store


def test_expires_zero_removes_and_star_removes_all() -> None:
    store = Store()
    store.take(register("<sip:201@192.0.2.1>", call_id="a"))
    store.take(register("<sip:201@192.0.2.2>", call_id="b"))
    store.take(register("<sip:201@192.0.2.1>;expires=0", call_id="a", cseq=2))
    assert [b.contact for b in store.values()] == ["sip:201@192.0.2.2"]
    store.take(register("*", cseq=9, headers=(("Expires", "0"),)))
    assert not store


@pytest.mark.parametrize(
    ("values", "expires"), [(("*",), "60"), (("*", "<sip:a@b>"), "0"), (("*",), None)]
)
def test_star_in_any_other_form_is_refused(values: tuple[str, ...], expires: str | None) -> None:
    headers = (("Expires", expires),) if expires else ()
    with pytest.raises(ParseError):
        process(register(*values, headers=headers), FLOW, {}, LIMITS, NOW)


def test_an_old_request_changes_nothing() -> None:
    store = Store()
    store.take(register("<sip:201@192.0.2.1>", cseq=5))
    result = store.take(register("<sip:201@192.0.2.1>;expires=0", cseq=4))
    assert result.status == 500
    assert len(store) == 1


def test_too_brief_is_423_and_too_long_is_shortened() -> None:
    result = process(register("<sip:a@192.0.2.1>;expires=10"), FLOW, {}, LIMITS, NOW)
    assert (result.status, result.headers) == (423, (("Min-Expires", "60"),))
    result = process(register("<sip:a@192.0.2.1>;expires=999999"), FLOW, {}, LIMITS, NOW)
    assert contacts(result) == [f"<sip:a@192.0.2.1>;expires={LIMITS.register_max_expires}"]


def test_beyond_the_limit_the_oldest_contact_goes() -> None:
    store = Store()
    for i in range(5):
        store.take(register(f"<sip:201@192.0.2.{i + 1}>", call_id=str(i)), now=NOW + i)
    assert sorted(b.contact for b in store.values()) == [
        "sip:201@192.0.2.3",
        "sip:201@192.0.2.4",
        "sip:201@192.0.2.5",
    ]


def test_a_restarted_phone_replaces_its_own_binding() -> None:
    """RFC 5626 section 6: same instance and reg-id, another address and Call-ID."""
    store = Store()
    instance = '+sip.instance="<urn:uuid:1>";reg-id=1'
    outbound = (("Supported", "path, outbound"),)
    store.take(register(f"<sip:201@192.0.2.1:1111>;{instance}", headers=outbound))
    result = store.take(
        register(f"<sip:201@192.0.2.1:2222>;{instance}", call_id="new", headers=outbound)
    )
    assert [b.contact for b in store.values()] == ["sip:201@192.0.2.1:2222"]
    assert ("Require", "outbound") in result.headers


def test_path_is_kept_for_those_who_support_it() -> None:
    store = Store()
    path = ("Path", "<sip:edge.example;lr>")
    result = store.take(register("<sip:201@192.0.2.1>", headers=(path, ("Supported", "path"))))
    assert next(iter(store.values())).path == ("<sip:edge.example;lr>",)
    assert path in result.headers
    refused = process(register("<sip:201@192.0.2.1>", headers=(path,)), FLOW, {}, LIMITS, NOW)
    assert refused.status == 420


def test_a_phone_that_believes_to_be_elsewhere_is_behind_nat() -> None:
    store = Store()
    store.take(register("<sip:201@10.0.0.5:5060>"))
    assert next(iter(store.values())).nat


@pytest.mark.parametrize("contact", ["<tel:+49221>", "<sip:>", "<mailto:a@b>", "<sip:a@b"])
def test_contacts_that_cannot_be_called_are_refused(contact: str) -> None:
    with pytest.raises(ParseError):
        process(register(contact), FLOW, {}, LIMITS, NOW)
