"""Lists: which records, in which order, which page of them, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from capi_world import EXTERNAL, World, world
from hypothesis import given
from hypothesis import strategies as st

from meshnet.capi.errors import ApiError
from meshnet.capi.listing import Collection, page
from meshnet.capi.tables import Record

URL = "http://api.sys/v3/things"


@dataclass(frozen=True)
class Thing(Record):
    name: str = ""
    color: str = ""
    path: str = ""
    owners: tuple[str, ...] = ()


THINGS = Collection[Thing](
    filters={
        "names": "name",
        "colors": "color",
        "paths": "path",
        "owner_guids": lambda thing: thing.owners,
    },
    orders=("name",),
    includes={"owner": lambda rows: ("owners", [{"guid": o} for r in rows for o in r.owners])},
)


def thing(index: int, **values: Any) -> Thing:
    at = f"2026-01-01T00:00:{index:02}.{index:06}Z"
    return Thing(guid=f"g{index}", created_at=at, **values)


def asked(rows: list[Thing], **params: str) -> dict[str, Any]:
    return page(URL, params, THINGS, rows, lambda t: {"guid": t.guid})


def guids(rows: list[Thing], **params: str) -> list[str]:
    return [row["guid"] for row in asked(rows, **params)["resources"]]


FOUR = [
    thing(3, name="delta", color="Red", owners=("a", "b")),
    thing(
        1,
        name="Bravo",
        color="",
        owners=("b",),
        metadata={"labels": {"env": "prod", "tier": "x"}, "annotations": {}},
    ),
    thing(
        2,
        name="alpha",
        color="blue",
        path="/P",
        metadata={"labels": {"env": "dev"}, "annotations": {}},
    ),
    thing(4, name="charlie", color="red", path="/p", updated_at="2026-02-01T00:00:00.5Z"),
]


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({}, "g1 g2 g3 g4"),
        ({"order_by": "-created_at"}, "g4 g3 g2 g1"),
        ({"order_by": "+name"}, "g2 g1 g4 g3"),
        ({"order_by": " name"}, "g2 g1 g4 g3"),
        ({"order_by": "-name"}, "g3 g4 g1 g2"),
        ({"order_by": "-updated_at", "per_page": "1"}, "g4"),
        ({"colors": "red"}, "g3 g4"),
        ({"colors": "RED,blue"}, "g2 g3 g4"),
        ({"colors": ""}, "g1"),
        ({"paths": "/p"}, "g4"),
        ({"paths": ""}, "g1 g3"),
        ({"owner_guids": "b"}, "g1 g3"),
        ({"owner_guids": "b", "colors": "red"}, "g3"),
        ({"guids": ""}, ""),
        ({"guids": "g2,g4,ghost"}, "g2 g4"),
        ({"label_selector": "env"}, "g1 g2"),
        ({"label_selector": "!env"}, "g3 g4"),
        ({"label_selector": "env=prod"}, "g1"),
        ({"label_selector": "env==prod,tier!=y"}, "g1"),
        ({"label_selector": "env!=prod"}, "g2 g3 g4"),
        ({"label_selector": "env in (prod, dev),tier notin (x)"}, "g2"),
        ({"created_ats[gt]": "2026-01-01T00:00:02Z"}, "g3 g4"),
        ({"created_ats[lte]": "2026-01-01T00:00:02Z"}, "g1 g2"),
        ({"created_ats": "2026-01-01T00:00:02Z,2026-01-01T00:00:04Z"}, "g2 g4"),
        ({"updated_ats[gte]": "2026-02-01T00:00:00Z"}, "g4"),
        ({"page": "2", "per_page": "3"}, "g4"),
        ({"page": "9", "per_page": "3"}, ""),
    ],
)
def test_a_list_answers_with_what_was_asked_for(params: dict[str, str], found: str) -> None:
    assert guids(FOUR, **params) == found.split()


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"sort": "x"}, "Unknown query parameter(s): 'sort'. Valid parameters are: 'page', "),
        ({"page": "0"}, "Page must be a positive integer"),
        ({"page": "x"}, "Page must be a positive integer"),
        ({"page": "9" * 19}, "Page must be less than 9223372036854775808"),
        ({"page": "9" * 5000}, "Page must be a positive integer"),
        ({"page": "\u0662"}, "Page must be a positive integer"),
        ({"per_page": "-1"}, "Per page must be a positive integer"),
        ({"per_page": "5001"}, "Per page must be between 1 and 5000"),
        ({"order_by": "color"}, "Order by can only be: 'created_at', 'updated_at', 'name'"),
        ({"order_by": ""}, "Order by can only be: "),
        ({"include": "space"}, "Invalid included resource: 'space'. Valid included resources are"),
        ({"label_selector": ""}, "Invalid label_selector value"),
        ({"label_selector": "a=b,"}, "Invalid label_selector value"),
        ({"label_selector": "a in (b"}, "Invalid label_selector value"),
        ({"created_ats": "yesterday"}, "Created ats has an invalid timestamp format"),
        ({"created_ats[near]": "2026-01-01T00:00:02Z"}, "Created ats relational operator must"),
        (
            {"updated_ats[lt]": "2026-01-01T00:00:02Z,2026-01-01T00:00:02Z"},
            "Updated ats only accepts one value",
        ),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused(params: dict[str, str], says: str) -> None:
    with pytest.raises(ApiError) as refused:
        asked(FOUR, **params)
    error = refused.value
    assert (error.status, error.code, error.title) == (400, 10005, "CF-BadQueryParameter")
    assert error.detail.startswith(f"The query parameter is invalid: {says}")


def test_links_lead_to_all_pages_with_the_other_parameters() -> None:
    body = asked(FOUR, page="2", per_page="1", names="alpha,delta,charlie", order_by="-name")
    found = body["pagination"]
    assert (found["total_results"], found["total_pages"]) == (3, 3)
    pages = {"first": "1", "previous": "1", "next": "3", "last": "3"}
    for name, number in pages.items():
        parts = urlsplit(found[name]["href"])
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == URL
        assert parse_qs(parts.query) == {
            "names": ["alpha,delta,charlie"],
            "order_by": ["-name"],
            "page": [number],
            "per_page": ["1"],
        }


def test_an_empty_list_has_one_page() -> None:
    found = asked([])["pagination"]
    assert (found["total_results"], found["total_pages"]) == (0, 1)
    assert (found["next"], found["previous"]) == (None, None)


def test_include_adds_what_the_pages_records_refer_to() -> None:
    body = asked(FOUR, include="owner", per_page="1")
    assert body["included"] == {"owners": [{"guid": "b"}]}
    assert "included" not in asked(FOUR)


@given(st.integers(0, 60), st.integers(1, 70))
def test_the_pages_hold_every_record_once(count: int, size: int) -> None:
    rows = [thing(i) for i in range(count)]
    seen, number = [], 1
    while True:
        body = asked(rows, page=str(number), per_page=str(size))
        seen += [row["guid"] for row in body["resources"]]
        if not (following := body["pagination"]["next"]):
            break
        number = int(parse_qs(urlsplit(following["href"]).query)["page"][0])
    assert seen == [t.guid for t in rows]
    assert body["pagination"]["total_pages"] == number


@given(st.dictionaries(st.sampled_from(["label_selector", "page", "created_ats[gt]"]), st.text()))
def test_no_parameter_breaks_a_list(params: dict[str, str]) -> None:
    try:
        asked(FOUR, **params)
    except ApiError as error:
        assert error.status == 400


@pytest.fixture
def w(tmp_path: Any) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def test_hrefs_follow_the_scheme_and_host_of_the_request(w: World) -> None:
    w.route(EXTERNAL, "a")
    w.route(EXTERNAL, "b")
    reply = w.http.get("https://api.sys.mesh.lab/v3/routes?per_page=1", headers={})
    href = reply.json()["pagination"]["next"]["href"]
    assert href == "https://api.sys.mesh.lab/v3/routes?page=2&per_page=1"
    (row,) = w.http.get(href).json()["resources"]
    assert row["host"] == "b"


def test_a_job_is_complete_at_the_first_look_and_outlives_the_daemon(
    w: World, tmp_path: Any
) -> None:
    route = w.route(EXTERNAL, "a")
    reply = w.http.request("DELETE", f"/v3/routes/{route}")
    location = reply.headers["location"]
    assert reply.status_code == 202
    assert location.startswith("http://10.0.16.2/v3/jobs/")
    job = w.http.get(location).json()
    assert (job["state"], job["operation"], job["errors"]) == ("COMPLETE", "route.delete", [])
    assert w.refused("GET", "/v3/jobs/ghost", None, 404) == "Job not found"
    with world(tmp_path) as again:
        assert again.ask("GET", f"/v3/jobs/{job['guid']}", None, 200)["state"] == "COMPLETE"


def test_a_failed_job_says_why(w: World) -> None:
    error = ApiError(422, 10008, "CF-UnprocessableEntity", "no")
    job = w.records.jobs.done("space.apply_manifest", error=error, warnings=["odd"])
    shown = w.ask("GET", f"/v3/jobs/{job.guid}", None, 200)
    assert shown["state"] == "FAILED"
    assert shown["errors"] == [{"code": 10008, "title": "CF-UnprocessableEntity", "detail": "no"}]
    assert shown["warnings"] == [{"detail": "odd"}]


def test_old_jobs_make_room_for_new_ones(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshnet.capi.jobs.MAX_JOBS", 20)
    jobs = [w.records.jobs.done("x") for _ in range(30)]
    kept = {job.guid for job in w.records.jobs}
    assert len(kept) <= 20
    assert jobs[-1].guid in kept
    assert jobs[0].guid not in kept


def test_a_record_that_changes_says_when(w: World) -> None:
    org = w.records.organizations.all()[0]
    assert org.updated_at == ""
    assert w.records.organizations.put(org) == org
    changed = w.records.organizations.put(replace(org, name="other"))
    assert changed.created_at == org.created_at < changed.updated_at
    assert w.records.organizations.get(org.guid) == changed
