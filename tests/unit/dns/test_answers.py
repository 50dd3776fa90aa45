"""DNS answers, and no crash whatever comes."""

from __future__ import annotations

import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnet.dns.answers import Found, Names, answer, asked, question, to_wire, under

NAMES = Names(
    zone={
        "cell-1.mesh.lab": ["10.0.16.21"],
        "*.istio.mesh.lab": ["10.0.16.10"],
        "b.apps.internal": ["10.255.1.2", "10.255.2.2"],
        "idle.apps.internal": [],
    },
    own_domains=("apps.internal", "istio.mesh.lab", "mesh.lab"),
)


def ask(name: str, kind: str = "A") -> dns.message.Message:
    query = question(dns.message.make_query(name, kind).to_wire())
    assert query is not None
    text = asked(query)
    assert text is not None
    return answer(query, NAMES.find(text), NAMES.owns(text))


def addresses(response: dns.message.Message) -> list[str]:
    return [r.address for rrset in response.answer for r in rrset]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("b.apps.internal.", ["10.255.1.2", "10.255.2.2"]),
        ("B.Apps.Internal.", ["10.255.1.2", "10.255.2.2"]),
        ("anything.istio.mesh.lab.", ["10.0.16.10"]),
        ("a.b.istio.mesh.lab.", ["10.0.16.10"]),
        ("cell-1.mesh.lab.", ["10.0.16.21"]),
        ("idle.apps.internal.", []),
    ],
)
def test_names_that_exist(name: str, expected: list[str]) -> None:
    response = ask(name)
    assert response.rcode() == dns.rcode.NOERROR and sorted(addresses(response)) == expected


def test_another_type_of_an_existing_name_is_an_empty_answer() -> None:
    response = ask("b.apps.internal.", "AAAA")
    assert response.rcode() == dns.rcode.NOERROR and not response.answer


def test_unknown_names_do_not_exist_in_our_domains_and_are_refused_elsewhere() -> None:
    assert ask("no.apps.internal.").rcode() == dns.rcode.NXDOMAIN
    assert ask("example.com.").rcode() == dns.rcode.REFUSED
    assert not under("notapps.internal", "apps.internal")


@given(st.binary(max_size=600))
def test_garbage_is_answered_or_dropped(wire: bytes) -> None:
    query = question(wire)
    if query is not None:
        asked(query)


def test_what_does_not_fit_is_truncated() -> None:
    query = question(dns.message.make_query("many.apps.internal.", "A").to_wire())
    assert query is not None
    many = Found(tuple(f"10.255.{i // 250}.{i % 250 + 1}" for i in range(200)), 0)
    short = dns.message.from_wire(to_wire(query, answer(query, many, True), tcp=False))
    assert short.flags & dns.flags.TC and not short.answer
    whole = dns.message.from_wire(to_wire(query, answer(query, many, True), tcp=True)[2:])
    assert len(addresses(whole)) == 200
