"""SCIM filters: which users they pick, and that nothing but a filter is one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnet.capi.uaa import scim
from meshnet.model.errors import InputError

ANN: dict[str, tuple[scim.Value, ...]] = {
    **dict.fromkeys(scim.ATTRIBUTES, ("",)),
    "id": ("guid-1",),
    "username": ('Ann "the" O\'Brien',),
    "origin": ("uaa",),
    "active": (True,),
    "emails.value": ("ann@example.org", "ann@work.example"),
}


def picks(text: str, user: dict[str, tuple[scim.Value, ...]] = ANN) -> bool:
    return scim.parse(text)(user.__getitem__)


@pytest.mark.parametrize(
    ("text", "picked"),
    [
        (r'userName eq "Ann \"the\" O\u0027Brien"', True),
        (r'USERNAME Eq "ann \"THE\" o\u0027brien" AND origin eq "uaa"', True),
        ('userName eq "bob" and origin eq "uaa"', False),
        ('userName eq "bob" or origin eq "uaa"', True),
        # `and` binds more than `or`, `not` more than both.
        ('origin eq "uaa" or id eq "x" and id eq "y"', True),
        ('(origin eq "uaa" or id eq "x") and id eq "y"', False),
        ('not (id eq "x") and active eq true', True),
        ("active eq false", False),
        ('active eq "true"', True),
        ("id pr and not (externalId pr)", True),
        ('id sw "GUID" and id ew "-1" and id co "d-"', True),
        ('id gt "guid-0" and id lt "guid-2" and id ge "guid-1" and id le "guid-1"', True),
        ('id ne "guid-1"', False),
        ('emails.value eq "ann@work.example"', True),
        ('  id   eq   "guid-1"  ', True),
        ('id eq ""', False),
    ],
)
def test_whom_a_filter_picks(text: str, picked: bool) -> None:
    assert picks(text) is picked


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "userName",
        "userName eq",
        "userName eq bob",
        'userName eq "bob',
        'userName eq "bob" and',
        'userName eq "bob" "x"',
        'userName like "bob"',
        'password eq "x"',
        '"bob" eq userName',
        "userName eq 1",
        '(userName eq "bob"',
        'userName eq "bob")',
        'not userName eq "bob"',
        "()",
        "and",
        'userName eq "a\nb"',
        r'userName eq "\x"',
        'userName eq "x"; drop',
        'id eq "' + "x" * scim.MAX_FILTER + '"',
        "(" * 1000 + 'id eq "x"' + ")" * 1000,
        " or ".join(['id eq "x"'] * 100),
    ],
)
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(InputError, match="Invalid filter expression"):
        scim.parse(text)


@given(st.text(max_size=200))
def test_a_name_is_found_by_its_own_filter(name: str) -> None:
    user = {**ANN, "username": (name,)}
    # A user's name is folded before it is compared, as UAA does it.
    assert picks(f"userName eq {json.dumps(name)}", user)
    assert not picks(f"userName ne {json.dumps(name)}", user)
    assert picks(f"userName eq {json.dumps(name + 'x')}", user) is False


@given(
    st.lists(
        st.one_of(
            st.sampled_from(["and", "or", "not", "(", ")", "eq", "pr", "co", "id", "userName"]),
            st.text(max_size=5).map(json.dumps),
            st.text(max_size=5),
        ),
        max_size=30,
    ).map(" ".join)
)
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    try:
        test = scim.parse(text)
    except InputError:
        return
    assert test(ANN.__getitem__) in (True, False)


COMPARISONS = st.sampled_from(['id eq "guid-1"', 'id eq "x"', "active pr", 'origin sw "u"'])
FILTERS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda p: f"({p[0]}) and ({p[1]})"),
        st.tuples(inner, inner).map(lambda p: f"({p[0]}) or ({p[1]})"),
        inner.map(lambda f: f"not ({f})"),
    ),
    max_leaves=8,
)


@given(FILTERS, FILTERS)
def test_filters_are_boolean_algebra(one: str, two: str) -> None:
    assert picks(f"({one}) and ({two})") == (picks(one) and picks(two))
    assert picks(f"({one}) or ({two})") == (picks(one) or picks(two))
    assert picks(f"not ({one})") != picks(one)
