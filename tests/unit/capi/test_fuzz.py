"""Every call of the OpenAPI description with bodies, paths and queries drawn from it: no 500.

`pytest --hypothesis-profile explore tests/unit/capi/test_fuzz.py` draws twenty times as many.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from capi_world import World, description, world
from hypothesis import given, settings
from hypothesis import strategies as st

SCHEMA = schemathesis.openapi.from_dict(description())
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations()]
EXAMPLES = max(5, settings.default.max_examples // 10) if settings.default else 10
# What a caller may be answered with: all that is documented, and what HTTP itself answers.
HTTP_ITSELF = {405, 307}

TEXTS = st.sampled_from(["", "a", "a,b", ",", "x" * 300, "\0", "é", "-1", "*", "%", "[", "a=b"])
QUERIES = st.dictionaries(
    st.sampled_from(
        [
            *("names", "guids", "space_guids", "organization_guids", "app_guids", "states"),
            *("page", "per_page", "order_by", "label_selector", "include", "hosts", "paths"),
            *("created_ats", "created_ats[gt]", "updated_ats[lt]", "created_ats[x]", "nonsense"),
            *("types", "domain_guids", "usernames", "stacks", "source_guid", "q", "filter"),
        ]
    ),
    TEXTS
    | st.integers(-(2**70), 2**70).map(str)
    | st.sampled_from(
        [
            *("-created_at", "name", "+name", "space", "org", "user", "space.organization"),
            *("2026-01-01T00:00:00Z", "2026-13-45T99:99:99Z", "a in (b,c)", "!a", "a!=b,c"),
        ]
    ),
    max_size=2,
)


def named(operation: Any) -> str:
    return f"{operation.method.upper()} {operation.path}"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One API for all operations: what one of them leaves is what the next one finds."""
    with world(tmp_path_factory.mktemp("fuzz")) as w:
        yield w


def known(w: World) -> list[str]:
    """Guids of things that are there, of every kind."""
    name = f"there-{len(w.records.departed.all())}-{len(w.records.apps.all())}"
    app = w.app(name, start=True)
    w.map(w.route("istio.mesh.lab", name), app)
    body = {"type": "bits", "relationships": {"app": {"data": {"guid": app}}}}
    package = w.ask("POST", "/v3/packages", body, 201)["guid"]
    deployment = w.ask("POST", "/v3/deployments", {"relationships": body["relationships"]}, 201)
    tables = vars(w.records).values()
    rows = [row for table in tables if hasattr(table, "all") for row in table.all()]
    guids = [app, package, deployment["guid"], *(row.guid for row in rows)]
    return list(dict.fromkeys(str(guid) for guid in guids))


def aimed(value: Any, guids: list[str], draw: Any) -> Any:
    """The same JSON, in which what is called guid or name sometimes names something there is."""
    if isinstance(value, dict):
        return {
            key: draw(st.sampled_from(guids))
            if key == "guid" and isinstance(item, str) and draw(st.booleans())
            else aimed(item, guids, draw)
            for key, item in value.items()
        }
    return [aimed(item, guids, draw) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("operation", OPERATIONS, ids=named)
def test_no_request_is_answered_with_500(shared: World, operation: Any) -> None:
    w = shared
    w.sign_in()  # an operation before may have revoked the token
    guids = known(w)

    @settings(max_examples=EXAMPLES)
    @given(case=operation.as_strategy(), query=QUERIES, data=st.data())
    def ask(case: Any, query: dict[str, str], data: st.DataObject) -> None:
        for name in case.path_parameters or {}:
            if data.draw(st.integers(0, 3)):
                options = ["web"] if name == "kind" else guids
                case.path_parameters[name] = data.draw(st.sampled_from(options))
        if isinstance(case.body, dict | list) and case.media_type == "application/json":
            case.body = aimed(case.body, guids, data.draw)
        sent = case.as_transport_kwargs(base_url="http://10.0.16.2")
        sent["params"] = {**(sent.get("params") or {}), **query}
        sent.pop("cookies", None)
        sent["headers"] = {"Content-Type": sent["headers"].get("Content-Type", "")} | (
            {"authorization": w.http.headers["authorization"]}
        )
        if "files" in sent:
            sent["headers"].pop("Content-Type")
        reply = w.http.request(sent.pop("method"), sent.pop("url"), **sent)
        documented = {int(code) for code in operation.definition.raw["responses"]}
        assert reply.status_code < 500 or reply.status_code == 503, reply.text
        assert reply.status_code in documented | HTTP_ITSELF, reply.text
        if reply.status_code >= 400 and operation.path.startswith("/v3"):
            (error, *_) = reply.json()["errors"]
            assert set(error) == {"code", "title", "detail"}

    ask()


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"name":' + b"9" * 10_000 + b"}",
        b'{"name":"\\ud800"}',
        b'{"name":NaN}',
        b"\xff\xfe",
        b"",
        b'"text"',
        json.dumps({"name": "x" * 900_000}).encode(),
    ],
)
@pytest.mark.parametrize("path", ["/v3/apps", "/v3/routes", "/v3/deployments", "/v3/builds"])
def test_bodies_that_are_no_objects(shared: World, path: str, content: bytes) -> None:
    shared.sign_in()
    headers = {"Content-Type": "application/json"}
    reply = shared.http.post(path, content=content, headers=headers)
    assert reply.status_code in (400, 422) and reply.json()["errors"]
