"""Policies that come and go, and who may call whom: step by step as from nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from meshnet.copilot import resources
from meshnet.copilot.main import Copilot
from meshnet.copilot.mesh import Mesh
from meshnet.copilot.state import State
from meshnet.model.policy import Policy
from meshnet.model.routes import Route
from meshnet.store import Store
from meshnet.wire import mcp
from meshnet.wire.mcp_source import Catalog
from meshnet.wire.policy_client import Update
from meshnet.wire.policy_json import Delta, Tagged

APPS = "abcd"
# Several for the same two apps, and such as differ in a tag alone: the app was deleted in between.
_TAGGED = st.builds(
    lambda source, destination, port, tag: Tagged(
        Policy(source, destination, "tcp", port, port), tag, 9
    ),
    *(st.sampled_from(APPS), st.sampled_from(APPS), st.sampled_from([80, 443]), st.integers(1, 2)),
)
_SOME = st.lists(_TAGGED, max_size=4, unique=True)
_UPDATES = st.lists(st.tuples(st.booleans(), _SOME, _SOME), max_size=12)


def routed(state: State) -> None:
    """Each app has an internal route."""
    for app in APPS:
        state.upsert_route(Route(f"r{app}", f"{app}.x", internal=True))
        state.map_route(f"r{app}", app, 1)


def fresh(known: set[Tagged], path: Path) -> Mesh:
    """As Copilot has it who starts now, with these policies."""
    state = State(Store.open(path), "127.128.0.0/9")
    routed(state)
    policies: dict[str, set[str]] = {}
    for one in known:
        policies.setdefault(one.policy.source, set()).add(one.policy.destination)
    state.set_policies(policies)
    return state.mesh


@given(_UPDATES)
@settings(max_examples=60, deadline=None)
def test_what_changes_leads_where_a_start_from_all_policies_leads(
    updates: list[tuple[bool, list[Tagged], list[Tagged]]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "walked.db"
        state = State(Store.open(path), "127.128.0.0/9")
        routed(state)
        copilot = Copilot(state)
        copilot.take_policies(Update(1, True, Delta([], [])))
        copilot._publish()
        known = set[Tagged]()
        for full, added, removed in updates:
            gone = [] if full else [one for one in removed if one not in added]
            copilot.take_policies(Update(2, full, Delta(added, gone)))
            copilot._publish()
            known = (set() if full else known - set(gone)) | set(added)
        expected = fresh(known, Path(name) / "fresh.db")
        assert state.mesh.policies == expected.policies
        assert State(Store.open(path), "127.128.0.0/9").mesh.policies == expected.policies
        whole = Catalog()
        whole.update(resources.everything(expected))
        found = copilot.source.catalog.collections[mcp.SIDECARS]
        assert found.resources == whole.collections[mcp.SIDECARS].resources
