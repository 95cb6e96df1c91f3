"""The fuzzer for a bounded number of rounds, and what once crashed."""

from __future__ import annotations

import os

import fuzz
import pytest
from torture import CASES

#: more rounds by hand: SIP_FUZZ_ROUNDS=5000
ROUNDS = int(os.environ.get("SIP_FUZZ_ROUNDS", "40"))


@pytest.mark.parametrize("block", range(4))
def test_mutated_input_raises_documented_errors_only(block: int) -> None:
    for seed in range(block * ROUNDS, (block + 1) * ROUNDS):
        fuzz.run_round(seed, steps=25)


@pytest.mark.parametrize("path", sorted(fuzz.CRASHERS.glob("*.sip")), ids=lambda path: path.stem)
def test_what_once_crashed(path: object) -> None:
    fuzz.check(path.read_bytes())  # type: ignore[attr-defined]


def test_the_torture_set_through_everything() -> None:
    for case in CASES:
        fuzz.check(case.data)
