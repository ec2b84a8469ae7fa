"""The keyed hash of a rollout: every router that follows its description assigns every request alike."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routewatch.rollout import BASELINE, CANDIDATE, Assignment, Rollout, hash_examples, read_rollout
from tests.support.doc_pages import PAGES, blocks

VALUE: dict[str, Any] = {
    "candidate": "swift-mini", "percent": 5, "salt": "0123456789abcdef", "by": "user", "experiment": "rollout-12",
}  # fmt: skip
SURELY = 5.0
"""Standard deviations by which no count is off by chance."""

UNITS = st.text(st.characters(), max_size=40)
SALTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def rollout(**values: Any) -> Rollout:
    found = read_rollout(VALUE | values)
    assert found is not None
    return found


def is_plausible_count(found: int, draws: int, share: float) -> bool:
    return abs(found - draws * share) <= SURELY * math.sqrt(draws * share * (1 - share))


def arms(salt: str, percent: float, units: range) -> list[bool]:
    its = rollout(salt=salt, percent=percent)
    return [its.assign(f"user-{unit}").arm == CANDIDATE for unit in units]


@given(UNITS, SALTS, st.lists(st.floats(0, 100), min_size=2, max_size=5))
def test_a_greater_percentage_takes_no_unit_back_to_the_baseline(unit: str, salt: str, percents: list[float]) -> None:
    """Nor does the unit's bucket change."""
    found = [rollout(salt=salt, percent=percent).assign(unit) for percent in sorted(percents)]
    shares = [it.arm == CANDIDATE for it in found]
    assert shares == sorted(shares)
    assert len({it.unit_bucket for it in found}) == 1
    assert rollout(salt=salt, percent=0).assign(unit).arm == BASELINE
    assert rollout(salt=salt, percent=100).assign(unit).arm == CANDIDATE


@given(UNITS, st.sampled_from(["request", "user"]))
def test_an_assignment_says_model_experiment_arm_and_the_bucket_of_a_user(unit: str, by: str) -> None:
    found = rollout(by=by, percent=50).assign(unit, "atlas-large")
    assert found.model == {CANDIDATE: "swift-mini", BASELINE: "atlas-large"}[found.arm or ""]
    assert found.experiment == "rollout-12"
    assert (found.unit_bucket is None) == (by == "request")
    assert found.unit_bucket is None or 0 <= found.unit_bucket < 64


@pytest.mark.parametrize("percent", [1, 5, 20, 50, 99])
def test_the_share_of_candidates_is_as_asked_in_every_bucket(percent: float) -> None:
    """The bucket says nothing of the arm: it is another part of the digest."""
    its = rollout(percent=percent)
    found = [its.assign(f"user-{unit}") for unit in range(20_000)]
    assert is_plausible_count(sum(it.arm == CANDIDATE for it in found), 20_000, percent / 100)
    for half in (0, 1):
        within = [it for it in found if (it.unit_bucket or 0) % 2 == half]
        assert is_plausible_count(len(within), 20_000, 0.5)
        assert is_plausible_count(sum(it.arm == CANDIDATE for it in within), len(within), percent / 100)
    assert {it.unit_bucket for it in found} == set(range(64))


def test_another_salt_draws_anew() -> None:
    """Of the candidates of one rollout as many are candidates of the next as of all."""
    first, second = (arms(salt, 20, range(20_000)) for salt in ("one", "two"))
    both = sum(a and b for a, b in zip(first, second, strict=True))
    assert is_plausible_count(both, sum(first), 0.2)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ([], "list"), ("x", "str"), (5, "int"), ({}, "percent"), (VALUE | {"percent": True}, "percent"),
        (VALUE | {"percent": "5"}, "percent"), (VALUE | {"percent": -1}, "percent"), (VALUE | {"percent": 101}, "percent"),
        (VALUE | {"percent": float("nan")}, "percent"), (VALUE | {"percent": 10**400}, "percent"),
        (VALUE | {"by": ["user"]}, "by"), (VALUE | {"by": None}, "by"), (VALUE | {"candidate": ""}, "candidate"),
        (VALUE | {"candidate": 7}, "candidate"), (VALUE | {"experiment": "NULL"}, "experiment"),
        (VALUE | {"experiment": "x" * 201}, "experiment"), (VALUE | {"salt": ""}, "salt"),
        (VALUE | {"salt": "\ud800"}, "salt"), (VALUE | {"salt": 1}, "salt"),
    ],
)  # fmt: skip
def test_a_value_that_is_no_rollout_says_why(value: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_rollout(value)


def test_null_ends_a_rollout() -> None:
    assert read_rollout(None) is None
    assert Assignment() == Assignment(None, None, None, None)


def test_the_examples_are_what_the_description_says() -> None:
    """By the definition of HMAC, without the library that makes it."""
    for it in hash_examples():
        key = it.salt.encode().ljust(64, b"\0")
        inner = hashlib.sha256(bytes(k ^ 0x36 for k in key) + it.unit.encode()).digest()
        digest = hashlib.sha256(bytes(k ^ 0x5C for k in key) + inner).digest()
        assert (it.digest, it.n, it.unit_bucket) == (digest.hex(), int(digest.hex()[:8], 16), digest[4] % 64)
        for percent in (it.candidate_above, it.candidate_above + 1e-6):
            is_candidate = rollout(salt=it.salt, percent=percent).assign(it.unit).arm == CANDIDATE
            assert is_candidate == (percent > it.candidate_above)
    page = next(page for page in PAGES if page.name == "router.md").read_text()
    for it in hash_examples():
        unit = f"`{it.unit}`" if it.unit else "(empty)"
        row = f"| {unit} | `{it.digest[:16]}` | {it.n} | {it.candidate_above:.6f} | {it.unit_bucket} |"
        assert row in page


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js")
def test_the_examples_in_the_docs_assign_as_we_do() -> None:
    """In Python and in JavaScript, for texts of any characters."""
    units = ["", "user-1", "caf\u00e9", "\U0001f600", "a b", "\u0430", *(f"r{n}" for n in range(300))]
    values = [
        VALUE | {"percent": percent, "by": by} for percent in (0, 0.1, 5, 33.3, 100) for by in ("user", "request")
    ]
    expected = [[its.assign(unit, "base").__dict__ for unit in units] for its in (rollout(**value) for value in values)]
    python, javascript = (
        next(block.text for block in blocks(language) if f"{word} assign" in block.text)
        for language, word in (("python", "def"), ("js", "function"))
    )
    own: dict[str, Any] = {}
    exec(python, own)  # noqa: S102 - an example of our docs
    assert [[own["assign"](value, unit, "base") for unit in units] for value in values] == expected
    program = javascript + (
        f"const units = {json.dumps(units)}, values = {json.dumps(values)};"
        "console.log(JSON.stringify(values.map(v => units.map(u => assign(v, u, 'base')))));"
    )
    told = subprocess.run(["node", "--input-type=module"], input=program, capture_output=True, text=True, check=True)
    assert json.loads(told.stdout) == expected
