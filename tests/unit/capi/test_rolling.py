"""The steps of a rolling deployment."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from meshnet.capi import rolling
from meshnet.capi.app_records import CANCELED, DEPLOYED, SUPERSEDED, App, Deployment

APP = App(name="a", droplet="old", instances=3)
NEW, NEWER = Deployment(app=APP.guid, droplet="new"), Deployment(app=APP.guid, droplet="newer")


def counts(app: App, deployment: Deployment) -> list[int]:
    return [version.instances for version in rolling.versions(app, deployment)]


def test_three_instances_are_replaced_one_by_one() -> None:
    app, deployment = rolling.begin(APP, NEW, None)
    seen = [counts(app, deployment)]
    assert rolling.step(deployment, 3, 0) is None, "the new instance does not run yet"
    while deployment.active:
        deployment = rolling.step(deployment, 3, deployment.instances) or deployment
        seen.append(counts(app, deployment))
    assert seen == [[1, 3], [2, 2], [3, 1], [3]]
    assert deployment.reason == DEPLOYED
    assert (app.droplet, app.version != APP.version) == ("new", True)


def test_a_cancelled_deployment_goes_back_the_same_way() -> None:
    app, deployment = rolling.begin(APP, NEW, None)
    deployment = rolling.step(deployment, 3, 1) or deployment
    app, deployment = rolling.cancel(app, deployment)
    assert (app.version, app.droplet) == (APP.version, "old")
    assert counts(app, deployment) == [2, 2]
    while deployment.active:
        deployment = rolling.step(deployment, 3, deployment.instances) or deployment
    assert (deployment.reason, counts(app, deployment)) == (CANCELED, [3])


def test_a_new_deployment_takes_over_what_the_last_one_had_not_finished() -> None:
    first, deployment = rolling.begin(APP, NEW, None)
    deployment = rolling.step(deployment, 3, 1) or deployment
    second, later = rolling.begin(first, NEWER, deployment)
    assert counts(second, later) == [1, 2, 2]
    assert replace(deployment, reason=SUPERSEDED).active is False
    later = rolling.step(later, 3, 1) or later
    assert counts(second, later) == [2, 2], "the oldest goes first"


def test_an_app_without_instances_is_deployed_at_once() -> None:
    _, deployment = rolling.begin(replace(APP, instances=0), NEW, None)
    done = rolling.step(deployment, 0, 0)
    assert done and done.reason == DEPLOYED and done.leaving == ()


@given(st.integers(1, 8), st.lists(st.sampled_from(["step", "cancel", "again"]), max_size=30))
def test_there_is_always_enough_and_never_much_more(wanted: int, moves: list[str]) -> None:
    app, deployment = rolling.begin(replace(APP, instances=wanted), NEW, None)
    above = 1
    for move in moves:
        if not deployment.active:
            break
        if move == "step":
            deployment = rolling.step(deployment, wanted, deployment.instances) or deployment
        elif move == "cancel" and deployment.reason == "DEPLOYING":
            app, deployment = rolling.cancel(app, deployment)
            above += 1
        else:
            app, deployment = rolling.begin(app, NEWER, deployment)
            above += 1
        assert wanted <= sum(counts(app, deployment)) <= wanted + above
    for _ in range(wanted + 1):
        if deployment.active:
            deployment = rolling.step(deployment, wanted, deployment.instances) or deployment
    assert not deployment.active and counts(app, deployment) == [wanted]
