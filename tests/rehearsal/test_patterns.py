"""Texts for the patterns that checks speak of, judged by the server that would refuse them."""

import pytest

from lockgate.postgres.wire import Wire
from lockgate.rehearsal.patterns import of_like, of_regex

REGEXES = (
    r"^[A-Z]{2}$", r"^INV-[0-9]{6}$", r"^[^@]+@[^@]+\.[a-z]+$", r"^\+[0-9]{6,15}$", r"^(draft|sent)_\d+$", r"^[a-z0-9]+(-[a-z0-9]+)*$", r"\d{3}",
    r"^#[0-9a-fA-F]{6}$", r"^[[:alpha:]][[:alnum:]_]*$", r"^(?:a|b)c?$", r"^.{5,10}$", r"^\S+@\S+$", r"^https?://", r"^[\w.-]+$", "^it's$", r"^\$\d",
)  # fmt: skip


@pytest.mark.postgres("18")
def test_what_is_understood_matches(wire: Wire) -> None:
    """Whatever is made for a pattern, the server says that it matches, for small and large numbers; what is not understood makes nothing."""
    understood = 0
    for pattern in REGEXES:
        made = of_regex(pattern, "g")
        if made is None:
            continue
        understood += 1
        wrong = wire.one(
            f"select v from (select {made} as v from (values (1::bigint), (77), (910001)) n(g)) t where v !~ $1",
            pattern,
        ).rows
        assert not wrong, (pattern, made, wrong)
    assert understood >= 14
    for pattern in ("%@%", "a_c%", "INV-%", r"100\%"):
        made = of_like(pattern, "g")
        assert wire.value(f"select {made} like $1 from (values (7::bigint)) n(g)", pattern) == "t", (
            pattern,
            made,
        )


def test_what_is_not_understood() -> None:
    """Look-around, back references and unclosed groups give no text instead of a wrong one."""
    for pattern in (r"(?=x)a", r"(a)\1", "(a", "[a", "a{2", "*", "a{999}"):
        assert of_regex(pattern, "g") is None, pattern


@pytest.mark.postgres("18")
def test_keys_differ(wire: Wire) -> None:
    """Where a pattern has room for a number, every row gets a text of its own."""
    made = of_regex(r"^INV-[0-9]{6}$", "g")
    assert (
        wire.value(f"select count(distinct v) from (select {made} as v from generate_series(1, 500) g) t")
        == "500"
    )
