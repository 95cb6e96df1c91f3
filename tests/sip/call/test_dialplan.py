"""What dialled numbers mean."""

from __future__ import annotations

import pytest
from support.calls import musterstadt

from sip.call import dialplan as plan

CITY = musterstadt()
DEVICE = CITY.devices["241"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("+49 (221) 4710-150", "+492214710150"),
        ("0221/4710-150", "02214710150"),
        ("  110 ", "110"),
        ("anna.schmidt", ""),
    ],
)
def test_separators_do_not_matter(written: str, expected: str) -> None:
    assert plan.digits(written) == expected


@pytest.mark.parametrize(
    "dialled",
    ["+492214710150", "004922147101 50", "02214710150", "4710150", "+49 221 4710-150"],
)
def test_our_own_numbers_are_known_in_every_spelling(dialled: str) -> None:
    assert plan.route_from_trunk(dialled, CITY) == plan.ToQueue("buergertelefon")


@pytest.mark.parametrize("dialled", ["+492214710", "+4922147100"])
def test_the_head_number_is_the_switchboard(dialled: str) -> None:
    assert plan.route_from_trunk(dialled, CITY) == plan.ToQueue("zentrale")


@pytest.mark.parametrize("dialled", ["+4930123456", "+492214710999", "sip", ""])
def test_from_outside_everything_else_is_unknown(dialled: str) -> None:
    assert plan.route_from_trunk(dialled, CITY) == plan.ToAnnouncement("unknown-number", 404)


def test_an_own_number_dialled_with_the_outside_prefix_stays_inside() -> None:
    assert plan.route_from_device("00221 4710 201", DEVICE, CITY) == plan.ToPerson("anna.schmidt")


@pytest.mark.parametrize(
    ("dialled", "expected"),
    [("0030123456", "+4930123456"), ("00049301234", "+49301234"), ("+43112345", "+43112345")],
)
def test_outside_numbers_become_e164(dialled: str, expected: str) -> None:
    route = plan.route_from_device(dialled, DEVICE, CITY)
    assert isinstance(route, plan.ToTrunk)
    assert (route.number, route.emergency) == (expected, False)
