"""The policy map's content, changed step by step: a map in memory stands for the kernel's."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnet.kernel.bpf.policy_rules import PolicyRule, PolicyRules, keys_of
from meshnet.model.errors import KernelError


class Memory:
    def __init__(self, room: int = 1_000_000) -> None:
        self.entries: set[bytes] = set()
        self.writes, self.room = 0, room

    def keys(self) -> set[bytes]:
        return self.entries

    def set(self, key: Any, value: Any) -> None:
        assert bytes(key) not in self.entries, "written twice"
        if len(self.entries) >= self.room:
            raise KernelError("no room", errno.ENOSPC)
        self.entries.add(bytes(key))
        self.writes += 1

    def delete(self, key: Any) -> None:
        self.entries.remove(bytes(key))
        self.writes += 1


# Few ports, so that ranges share entries.
RULES = st.sets(
    st.tuples(st.integers(1, 2), st.integers(8, 15), st.integers(0, 7)).map(
        lambda t: PolicyRule(t[0], 1, "tcp", t[1], t[1] + t[2])
    ),
    max_size=5,
)


@given(st.lists(st.tuples(RULES, RULES, st.booleans()), max_size=8))
def test_the_map_says_what_the_rules_say_after_every_change(
    steps: list[tuple[set[PolicyRule], set[PolicyRule], bool]],
) -> None:
    memory: Any = Memory()
    rules = PolicyRules(memory)
    wanted: set[PolicyRule] = set()
    for some, removed, full in steps:
        added = some - removed
        if full:
            wanted = added
            rules.replace(added)
        else:
            wanted = (wanted | added) - removed
            rules.change(added, removed)
        assert memory.entries == {key for rule in wanted for key in keys_of(rule)}


def test_a_change_costs_what_it_changes() -> None:
    memory: Any = Memory()
    rules = PolicyRules(memory)
    rules.replace([PolicyRule(1, tag, "tcp", 80, 80) for tag in range(1, 5001)])
    memory.writes = 0
    one = PolicyRule(2, 2, "udp", 53, 53)
    assert rules.change([one], []) == (1, 0)
    assert rules.change([one], []) == (0, 0)
    assert rules.change([], [one, PolicyRule(9, 9, "udp", 1, 1)]) == (0, 1)
    assert memory.writes == 2


def test_a_full_map_takes_nothing_new_and_gives_up_what_is_forbidden() -> None:
    memory: Any = Memory(room=3)
    rules = PolicyRules(memory)
    old = [PolicyRule(1, tag, "tcp", 80, 80) for tag in (1, 2, 3)]
    new = [PolicyRule(2, tag, "tcp", 80, 80) for tag in (1, 2)]
    rules.replace(old)
    with pytest.raises(KernelError):
        rules.change(new, old[:1])
    assert memory.entries < {key for rule in (*old[1:], *new) for key in keys_of(rule)}
    with pytest.raises(KernelError):
        rules.replace([*new, *old[1:]])
    assert not memory.entries & set(keys_of(old[0]))
    assert rules.replace([*new, old[2]]) == (1, 1), "and there is room"
    assert memory.entries == {key for rule in (*new, old[2]) for key in keys_of(rule)}
