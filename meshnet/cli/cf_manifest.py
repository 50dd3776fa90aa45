"""App manifests: read, variables filled in, flags laid over them, as `cf push` does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from meshnet.model.errors import InputError

Json = dict[str, Any]
_VARIABLE = re.compile(r"\(\(([\w.-]+)\)\)")
_OF_PROCESS = {
    *("command", "instances", "memory", "disk-quota", "timeout"),
    *("health-check-type", "health-check-http-endpoint"),
}
_UNDERSCORED = {"disk_quota": "disk-quota"}
# Flags say where routes lead on their own; a manifest's words for the same thing then go.
_ROUTING = ("routes", "no-route", "random-route", "default-route")


@dataclass(frozen=True)
class Manifest:
    """A manifest's apps; `directory` is what their paths are relative to."""

    applications: list[Json]
    directory: Path


def none(name: str) -> Manifest:
    """The manifest of an app that has none."""
    return Manifest([{"name": name}], Path())


def load(path: Path, variables: Mapping[str, Any]) -> Manifest:
    """Read a manifest.

    Args:
        variables: what ((NAME)) stands for.

    Raises:
        InputError: it cannot be read, is no manifest, or names a variable that is not given.
    """
    path = path / "manifest.yml" if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
        value = yaml.safe_load(text)
    except OSError as exc:
        raise InputError(f"cannot read the manifest {path}: {exc.strerror}") from exc
    except (yaml.YAMLError, UnicodeError) as exc:
        raise InputError(f"{path} is no YAML: {' '.join(str(exc).split())}") from exc
    found = value.get("applications") if isinstance(value, dict) else None
    if not isinstance(found, list) or not found:
        raise InputError(f"{path} has no `applications:`, a list of apps, each with a name")
    lines = _lines(text) or [""] * len(found)
    apps = [
        _app(one, variables, f"{path}{line}: application {number}")
        for number, (one, line) in enumerate(zip(found, lines, strict=True), start=1)
    ]
    return Manifest(apps, path.parent)


def _lines(text: str) -> list[str]:
    """The line that each application begins at; none where they come by a merge (`<<`)."""
    top: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    found = [node for key, node in top.value if key.value == "applications"]
    return [f", line {node.start_mark.line + 1}" for node in found[-1].value] if found else []


def _app(app: Any, variables: Mapping[str, Any], where: str) -> Json:
    """One application with its variables filled in. Raises InputError, which says `where`."""
    if not isinstance(app, dict):
        raise InputError(
            f"{where} is no mapping of keys: want `- name: APP` and what belongs to it"
        )
    name = app.get("name")
    if name is None or name == "":
        raise InputError(f"{where} has no name")
    if isinstance(name, bool | list | dict):
        raise InputError(f"{where}: name: want text")
    where = f"{where} ({name})"
    filled: Json = _filled(app, variables, where)
    for key in ("path", "command"):
        if not isinstance(filled.get(key), str | None):
            raise InputError(f"{where}: {key}: want text, not {filled[key]!r}")
    if filled.get("path") is None:
        filled.pop("path", None)
    return {**filled, "name": str(filled["name"])}


def variables(pairs: Sequence[str], files: Sequence[Path]) -> Json:
    """What `--vars-file` and `--var NAME=VALUE` say; the latter come first. Raises InputError."""
    found: Json = {}
    for path in files:
        try:
            value = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError, UnicodeError) as exc:
            raise InputError(f"cannot read the variables in {path}: {exc}") from exc
        if not isinstance(value, dict):
            raise InputError(f"{path} holds no variables, as NAME: VALUE")
        found.update(value)
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputError(f"--var {pair}: want NAME=VALUE")
        found[name] = yaml.safe_load(value) if value else ""
    return found


def _filled(value: Any, given: Mapping[str, Any], where: str) -> Any:
    if isinstance(value, dict):
        inner = ((k, v, f"{where}: {k}") for k, v in value.items())
        return {_filled(k, given, there): _filled(v, given, there) for k, v, there in inner}
    if isinstance(value, list):
        return [_filled(one, given, where) for one in value]
    if not isinstance(value, str):
        return value
    if missing := [name for name in _VARIABLE.findall(value) if name not in given]:
        hint = f"--var {missing[0]}=VALUE"
        raise InputError(f"{where}: the variable (({missing[0]})) is not given: {hint}")
    if whole := _VARIABLE.fullmatch(value):
        return given[whole[1]]
    return _VARIABLE.sub(lambda match: str(given[match[1]]), value)


def chosen(manifest: Manifest, name: str, flags: Mapping[str, Any]) -> Manifest:
    """One app of a manifest, or all where none is named, with the flags laid over it.

    Raises:
        InputError: there is no such app, or flags are given for several.
    """
    apps = [dict(one) for one in manifest.applications]
    if name and len(apps) == 1:
        apps[0]["name"] = name  # as cf: the only app is pushed by the name that is given
    elif name:
        apps = [one for one in apps if one["name"] == name]
        if not apps:
            raise InputError(f"the manifest has no app {name!r}")
    if len(apps) > 1 and flags:
        raise InputError("flags are for one app: name it")
    return Manifest([_over(one, flags) for one in apps], manifest.directory)


def _over(app: Json, flags: Mapping[str, Any]) -> Json:
    known = {k.replace("_", "-") if k != "name" else k: v for k, v in app.items()}
    if set(flags) & set(_ROUTING):
        known = {k: v for k, v in known.items() if k not in _ROUTING}
    if "buildpacks" in flags:
        known.pop("buildpack", None)
    web = web_process(known)
    if web is None:
        return {**known, **flags}
    # What a manifest says of the web process stands before what it says of the app: so do flags.
    own = {key: value for key, value in flags.items() if key in _OF_PROCESS}
    taken = {_UNDERSCORED.get(key, key) for key in own}
    kept = {key: value for key, value in web.items() if _UNDERSCORED.get(key, key) not in taken}
    known["processes"] = [{**kept, **own} if p is web else p for p in known["processes"]]
    return {**known, **{key: value for key, value in flags.items() if key not in own}}


def web_process(app: Json) -> Json | None:
    """What a manifest says of an app's web process in its list of processes, if it does."""
    processes = app.get("processes")
    if not isinstance(processes, list):
        return None
    return next((p for p in processes if isinstance(p, dict) and p.get("type") == "web"), None)


def body(manifest: Manifest) -> bytes:
    """What is sent to apply it: all but the paths, which are this machine's."""
    apps = [{k: v for k, v in app.items() if k != "path"} for app in manifest.applications]
    return yaml.safe_dump({"applications": apps}, sort_keys=False).encode()
