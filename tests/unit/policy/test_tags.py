"""Tags: the lowest free, after a rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshnet.model.errors import Conflict, InputError
from meshnet.model.policy import Policy
from meshnet.policy.planner import plan
from meshnet.policy.state import MAX_PER_SOURCE, MIGRATIONS, QuotaExceeded, State
from meshnet.policy.tags import MAX_TAG, REST_SECONDS, Tags
from meshnet.store import Store
from meshnet.wire import policy_json


def test_the_lowest_free_tag_is_taken() -> None:
    tags = Tags([1, 2, 4], {})
    assert [tags.take(0) for _ in range(2)] == [3, 5]
    tags.give_back(3)
    assert tags.take(0) == 3


def test_a_freed_tag_rests_before_it_is_anothers() -> None:
    assert Tags([1], {2: 100.0}).take(100.0 + REST_SECONDS - 1) == 3
    assert Tags([1], {2: 100.0}).take(100.0 + REST_SECONDS) == 2
    tags = Tags([1, 2], {})
    tags.free(1, 50.0)
    assert tags.take(51.0) == 3 and tags.take(50.0 + REST_SECONDS) == 1


def test_when_all_free_tags_rest_the_one_that_rested_longest_is_taken() -> None:
    used = set(range(1, MAX_TAG + 1)) - {7, 9}
    tags = Tags(used, {7: 50.0, 9: 40.0})
    assert tags.take(60.0) == 9 and tags.take(60.0) == 7
    with pytest.raises(Conflict):
        tags.take(60.0)


def test_tags_of_version_1_are_apps(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "p.db")
    store.put("tag", "a", 7)
    store.put("meta", "last_updated", 5)
    store.close()
    state = State(Store.open(tmp_path / "p.db", MIGRATIONS))
    assert state.tags == {"a": policy_json.Tag("a", "app", 7)} and state.version == 5
    assert state.tag("b").tag == 1


def test_policies_and_tags_survive_a_restart(tmp_path: Path) -> None:
    policy = Policy("a", "b", "tcp", 8080, 8080)
    first = State(Store.open(tmp_path / "p.db"))
    first.add([policy])
    tags, version = dict(first.tags), first.version
    again = State(Store.open(tmp_path / "p.db"))
    assert (again.policies, again.tags, again.version) == ({policy}, tags, version)
    again.add([policy])
    assert again.version == version
    assert again.forget_apps(["b"]) == [policy]
    assert again.policies == set() and "b" not in again.tags


def test_the_quota_of_a_source_refuses_all_of_a_request(tmp_path: Path) -> None:
    state = State(Store.open(tmp_path / "p.db"))
    with pytest.raises(QuotaExceeded, match="policy quota exceeded"):
        state.add([Policy("a", "b", "tcp", p, p) for p in range(1, MAX_PER_SOURCE + 2)])
    assert state.policies == set()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"source": {"id": ""}}, "missing source id"),
        ({"protocol": "icmp"}, "specify either udp or tcp"),
        ({"ports": {"start": 9, "end": 8}}, "invalid port range 9-8"),
        ({"ports": {"start": -1, "end": 8}}, "invalid start port -1"),
        ({"ports": {"start": 0, "end": 8}}, "missing start port"),
        ({"ports": {"start": 1, "end": 65536}}, "invalid end port 65536"),
        ({"source": {"id": "a", "tag": "1"}}, "tags may not be specified"),
        ({"ports": {"start": "x", "end": 1}}, "unmarshal json"),
    ],
)
def test_bad_policies_are_refused_in_the_policy_servers_words(
    change: dict[str, object], says: str
) -> None:
    source = change.pop("source", {"id": "a"})
    ports = {"start": 1, "end": 2}
    destination = {"id": "b", "protocol": "tcp", "ports": ports, **change}
    with pytest.raises(InputError, match=says):
        policy_json.parse({"policies": [{"source": source, "destination": destination}]})


def test_the_planner_turns_tags_into_rules() -> None:
    policy = Policy("a", "b", "udp", 53, 54)
    tagged = policy_json.Tagged(policy, 1, 0xABCD)
    assert policy_json.read_tagged([tagged.to_json()]) == [tagged]
    (rule,) = plan([tagged])
    assert (rule.src_tag, rule.dst_tag, rule.protocol) == (1, 0xABCD, "udp")
    assert (rule.start_port, rule.end_port) == (53, 54)
