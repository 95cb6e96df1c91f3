"""Digest authentication, with the examples of RFC 7616 and RFC 2617."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.core.digest import (
    Credentials,
    NonceIssuer,
    ReplayTracker,
    authorize,
    challenges,
    ha1,
    parse_auth,
    verify,
)
from sip.core.errors import ParseError

RFC_7616 = (
    'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", '
    'algorithm={algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
    'nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, '
    'response="{response}", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_rfc_7616_examples(algorithm: str, response: str) -> None:
    """RFC 7616 §3.9.1"""
    secret = ha1("Mufasa", "http-auth@example.org", "Circle of Life", algorithm)
    value = RFC_7616.format(algorithm=algorithm, response=response)
    credentials = Credentials.parse(value)
    assert credentials is not None
    assert credentials.count == 1
    assert verify(credentials, "GET", None, secret)
    assert verify(credentials, "GET", "/dir/index.html", secret)
    assert not verify(credentials, "POST", None, secret)
    assert not verify(credentials, "GET", "/other", secret)
    assert not verify(credentials, "GET", None, ha1("Mufasa", "x", "y", algorithm))


def test_rfc_7616_sha_512_256_user() -> None:
    """RFC 7616 §3.9.2 uses a hashed user name, so only its arithmetic is checked here."""
    secret = ha1("Jäsøn Doe", "api@example.org", "Secret, or not?", "SHA-512-256")
    expected = hashlib.new("sha512_256", "Jäsøn Doe:api@example.org:Secret, or not?".encode())
    assert secret == expected.hexdigest()


def test_rfc_2617_example() -> None:
    """RFC 2617 §3.5"""
    value = (
        'Digest username="Mufasa", realm="testrealm@host.com", '
        'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", uri="/dir/index.html", qop=auth, '
        'nc=00000001, cnonce="0a4f113b", response="6629fae49393a05397450978507c4ef1", '
        'opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    credentials = Credentials.parse(value)
    assert credentials is not None
    secret = ha1("Mufasa", "testrealm@host.com", "Circle Of Life")
    assert secret == "939e7578ed9e3c518a452acee763bce9"
    assert verify(credentials, "GET", "/dir/index.html", secret)


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512-256", "MD5-sess", "SHA-256-sess"])
@pytest.mark.parametrize("qop", ["auth", "auth-int", "auth,auth-int"])
def test_both_sides_agree(algorithm: str, qop: str) -> None:
    [challenge] = challenges('r"ealm', "n0nce", algorithms=[algorithm], qop=qop)
    value = authorize([challenge], "INVITE", "sip:a@b", 'u"ser', "pass", 1, "cn", b"body")
    assert value is not None
    credentials = Credentials.parse(value)
    assert credentials is not None
    secret = ha1('u"ser', 'r"ealm', "pass", algorithm.removesuffix("-sess"))
    assert verify(credentials, "INVITE", "sip:a@b", secret, b"body")
    if qop == "auth-int":
        assert not verify(credentials, "INVITE", "sip:a@b", secret, b"other")


def test_without_qop_only_when_configured() -> None:
    value = authorize(['Digest realm="r", nonce="n"'], "REGISTER", "sip:r", "u", "p", 1, "c")
    assert value is not None
    assert "qop" not in value
    credentials = Credentials.parse(value)
    assert credentials is not None
    secret = ha1("u", "r", "p")
    assert not verify(credentials, "REGISTER", "sip:r", secret)
    assert verify(credentials, "REGISTER", "sip:r", secret, allow_rfc2069=True)


def test_client_takes_the_best_it_knows() -> None:
    """RFC 8760 §2.4"""
    offered = [
        'Digest realm="r", nonce="n", algorithm=TOKEN-9000, qop="auth"',
        'Basic realm="r"',
        'Digest realm="broken',
        'Digest realm="r", nonce="n", algorithm=MD5, qop="auth"',
        'Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth"',
        'Digest realm="r", nonce="n", algorithm=SHA-512-256, qop="other"',
    ]
    value = authorize(offered, "INVITE", "sip:a@b", "u", "p", 2, "c")
    assert value is not None
    assert "algorithm=SHA-256" in value
    assert "nc=00000002" in value
    assert authorize(offered[:3], "INVITE", "sip:a@b", "u", "p", 1, "c") is None


@pytest.mark.parametrize("uri", ["sip:a@b:5060", "sip:a@B;transport=udp", "sip:%61@b"])
def test_uris_of_the_same_resource_are_accepted(uri: str) -> None:
    [challenge] = challenges("r", "n", algorithms=["MD5"])
    value = authorize([challenge], "INVITE", uri, "u", "p", 1, "c")
    credentials = Credentials.parse(value or "")
    assert credentials is not None
    assert verify(credentials, "INVITE", "sip:a@b", ha1("u", "r", "p"))
    assert not verify(credentials, "INVITE", "sip:other@b", ha1("u", "r", "p"))


@pytest.mark.parametrize(
    "value",
    [
        'Digest username="a', 'Digest username', 'Digest username="a" realm="b"', 'Digest ="a"',
        'Digest a="b",a="c"', 'Digest username="a",realm="b",nonce="c",uri="d"', 'Digest a=b"c"',
        'Digest a="b"c', "Digest ,,=", 'Digest a="\\',
    ],
)  # fmt: skip
def test_malformed_credentials(value: str) -> None:
    with pytest.raises(ParseError):
        Credentials.parse(value)


def test_other_schemes_are_not_ours() -> None:
    assert Credentials.parse("NoOneKnowsThisScheme opaque-data=here") is None
    assert parse_auth("Bearer") == ("bearer", {})


@pytest.mark.parametrize("nc", ["", "1", "0000000g", "00000000", "-0000001", "000000001"])
def test_bad_nonce_counts_are_refused(nc: str) -> None:
    [challenge] = challenges("r", "n", algorithms=["MD5"])
    value = authorize([challenge], "INVITE", "sip:a@b", "u", "p", 1, "c") or ""
    credentials = Credentials.parse(value.replace("nc=00000001", f'nc="{nc}"'))
    assert credentials is not None
    assert not verify(credentials, "INVITE", "sip:a@b", ha1("u", "r", "p"))


def test_nonces() -> None:
    issuer = NonceIssuer(b"secret", salt=b"worker 1", lifetime=60)
    other = NonceIssuer(b"secret", salt=b"worker 2", lifetime=60)
    stranger = NonceIssuer(b"other secret", lifetime=60)
    nonce = issuer.issue(1000.0)
    assert nonce != issuer.issue(1000.0)
    assert nonce != other.issue(1000.0)
    assert other.check(nonce, 1059.0) == "fresh"
    assert issuer.check(nonce, 1061.0) == "stale"
    assert stranger.check(nonce, 1000.0) == "invalid"
    for wrong in ("", nonce[:-1], nonce[:-1] + "x", "0" * 48, "\udcff" * 48, nonce.upper() + " "):
        assert issuer.check(wrong, 1000.0) == "invalid"
    with pytest.raises(ValueError, match="key"):
        NonceIssuer(b"")


def test_replays() -> None:
    issuer = NonceIssuer(b"secret")
    tracker = ReplayTracker(capacity=3)
    nonce = issuer.issue(1000.0)
    assert [tracker.accept(nonce, n) for n in (1, 2, 2, 1, 5, 4, 4, 3, 40, 5, 9)] == [
        "fresh", "fresh", "invalid", "invalid", "fresh", "fresh", "invalid", "fresh", "fresh",
        "invalid", "fresh",
    ]  # fmt: skip
    nonces = [issuer.issue(1001.0 + n) for n in range(4)]
    assert [tracker.accept(n, 1) for n in nonces] == ["fresh"] * 4
    assert len(tracker) == 3
    assert tracker.accept(nonce, 100) == "stale", "forgotten, so challenged again"
    tracker.expire(1004.0)
    assert len(tracker) == 1


@given(st.lists(st.integers(1, 60), max_size=80))
def test_no_count_is_ever_taken_twice(counts: list[int]) -> None:
    tracker = ReplayTracker()
    nonce = NonceIssuer(b"k").issue(1.0)
    accepted = [count for count in counts if tracker.accept(nonce, count) == "fresh"]
    assert len(accepted) == len(set(accepted))


@given(st.text(), st.text())
def test_parsing_never_fails_otherwise(scheme: str, rest: str) -> None:
    with suppress(ParseError):
        parse_auth(f"{scheme} {rest}")
