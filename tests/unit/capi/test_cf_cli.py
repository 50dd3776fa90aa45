"""The requests of the cf CLI (v7.2.0), replayed command by command in one Cloud Controller.

The files in `cf_cli/` say what is asked and what the CLI reads of the answers. A request may have:

    ask: METHOD PATH             with {name}s that earlier requests saved
    token: false                 no token is sent
    headers, json, form, text    what is sent
    upload: {field: bits}        multipart: `droplet` and `package` stand for such bits
    status                       of the answer; default: what a plain success is
    has: [path]                  paths in the answer that hold something, as resources.0.guid
    is: {path: value}            paths and what they hold
    error: text                  what the one error's detail holds
    job: STATE                   the answer's Location is an absolute URL of a job in this state
    until: {path: value}         asked again until this holds
    save: {name: path}           kept for later requests
"""

from __future__ import annotations

import io
import json
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml
from capi_world import World, world

DIRECTORY = Path(__file__).parent / "cf_cli"
COMMANDS = [c for path in sorted(DIRECTORY.glob("*.yml")) for c in yaml.safe_load(path.read_text())]
MISSING = object()


@pytest.fixture(scope="module")
def w(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture(scope="module")
def saved(w: World) -> dict[str, str]:
    token = w.http.headers["authorization"].split()[1]
    claims = jwt.decode(token, options={"verify_signature": False})
    return {"token": token, "me": claims["user_id"]}


def filled(value: Any, saved: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {k: filled(v, saved) for k, v in value.items()}
    if isinstance(value, list):
        return [filled(one, saved) for one in value]
    if isinstance(value, str):
        for name, text in saved.items():
            value = value.replace(f"{{{name}}}", text)
    return value


def at(body: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(body, list):
            body = body[int(part)] if int(part) < len(body) else MISSING
        else:
            body = body.get(part, MISSING) if isinstance(body, dict) else MISSING
    return body


def droplet() -> bytes:
    """As the acceptance tests' own: its start command is in staging_info.yml."""
    buffer = io.BytesIO()
    info = json.dumps({"detected_buildpack": "go", "start_command": "./bin/hello-app"}).encode()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in (("./app/bin/hello-app", b"#!"), ("./staging_info.yml", info)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def bits(kind: str) -> Any:
    if kind == "droplet":
        return ("hello.tgz", droplet(), "application/octet-stream")
    if kind == "package":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("app.py", "print()")
        return ("package.zip", buffer.getvalue(), "application/octet-stream")
    return (None, kind)


def sent(w: World, step: dict[str, Any], saved: dict[str, str]) -> Any:
    method, path = step["ask"].split(" ", 1)
    headers = {k.lower(): v for k, v in step.get("headers", {}).items()}
    if step.get("token", True):
        headers["authorization"] = f"bearer {saved['token']}"
    options: dict[str, Any] = {"headers": headers}
    for kind, name in (("json", "json"), ("form", "data"), ("text", "content")):
        if kind in step:
            options[name] = step[kind]
    if "upload" in step:
        options["files"] = {field: bits(kind) for field, kind in step["upload"].items()}
    w.http.headers.pop("authorization", None)
    return w.http.request(method, path, **options)


def check(w: World, step: dict[str, Any], saved: dict[str, str]) -> None:
    reply = sent(w, step, saved)
    deadline = time.monotonic() + 30
    for path, value in step.get("until", {}).items():
        while at(reply.json(), path) != value:
            assert time.monotonic() < deadline, reply.text
            reply = sent(w, step, saved)
    wanted = step.get("status", 202 if "job" in step else 200)
    assert reply.status_code == wanted, f"{step['ask']}: {reply.status_code} {reply.text}"
    body = reply.json() if reply.content else {}
    for path in step.get("has", []):
        assert at(body, path) is not MISSING, f"{step['ask']}: no {path} in {reply.text}"
    for path, value in step.get("is", {}).items():
        assert at(body, path) == value, f"{step['ask']}: {path} in {reply.text}"
    if "error" in step:
        (error,) = body["errors"]
        assert step["error"] in error["detail"], reply.text
    if "job" in step:
        where = reply.headers["location"]
        assert where.startswith("http://10.0.16.2/v3/jobs/")
        job = w.http.get(where, headers={"authorization": f"bearer {saved['token']}"}).json()
        assert job["state"] == step["job"], job
    saved.update({name: str(at(body, path)) for name, path in step.get("save", {}).items()})


@pytest.mark.parametrize("command", COMMANDS, ids=[str(c["command"]) for c in COMMANDS])
def test_command(w: World, saved: dict[str, str], command: dict[str, Any]) -> None:
    for step in command["requests"]:
        check(w, filled(step, saved), saved)
