"""The policy map's content, changed step by step: a map in memory stands for the kernel's."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meshnet.kernel.bpf.policy_rules import PolicyRule, PolicyRules, keys_of


class Memory:
    def __init__(self) -> None:
        self.entries: set[bytes] = set()
        self.writes = 0

    def keys(self) -> set[bytes]:
        return self.entries

    def set(self, key: Any, value: Any) -> None:
        assert bytes(key) not in self.entries, "written twice"
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
