"""Steps of tests about who may do what: users are made and given roles as the cf CLI does it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from capi_world import World


def create_user(w: World, name: str, password: str = "pw") -> str:
    """`cf create-user`; the user's guid."""
    query = quote(f'userName eq "{name}" and origin eq "uaa"')
    assert w.ask("GET", f"/Users?filter={query}", None, 200)["resources"] == []
    body = {
        "userName": name,
        "password": password,
        "origin": "",
        "name": {"familyName": name, "givenName": name},
        "emails": [{"value": name, "primary": True}],
    }
    guid = str(w.ask("POST", "/Users", body, 201)["id"])
    w.ask("POST", "/v3/users", {"guid": guid}, 201)
    return guid


def to_one(guid: str) -> dict[str, Any]:
    return {"data": {"guid": guid}}


def create_org(w: World, name: str) -> str:
    """`cf create-org`; its guid."""
    return str(w.ask("POST", "/v3/organizations", {"name": name}, 201)["guid"])


def create_space(w: World, org: str, name: str) -> str:
    """POST /v3/spaces; its guid."""
    body = {"name": name, "relationships": {"organization": to_one(org)}}
    return str(w.ask("POST", "/v3/spaces", body, 201)["guid"])


def role_body(kind: str, target: str, **user: str) -> dict[str, Any]:
    place = "space" if kind.startswith("space_") else "organization"
    return {"type": kind, "relationships": {place: to_one(target), "user": {"data": user}}}


def give(w: World, kind: str, target: str, username: str) -> str:
    """A role by the user's name; its guid."""
    body = role_body(kind, target, username=username)
    return str(w.ask("POST", "/v3/roles", body, 201)["guid"])


@contextmanager
def acting_as(w: World, username: str, password: str = "pw") -> Iterator[None]:
    """What is asked in the block is asked by this user."""
    before = w.http.headers["authorization"]
    w.sign_in(username, password)
    try:
        yield
    finally:
        w.http.headers["authorization"] = before


def finished(w: World, method: str, path: str) -> dict[str, Any]:
    """A request that is answered with a job, which is complete at its first GET."""
    reply = w.http.request(method, path)
    assert reply.status_code == 202, reply.text
    location = reply.headers["location"]
    assert location.startswith("http://10.0.16.2/v3/jobs/")
    job = w.ask("GET", location, None, 200)
    assert job["state"] == "COMPLETE" and job["errors"] == []
    return dict(job)
