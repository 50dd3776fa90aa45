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
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise InputError(f"cannot read the manifest {path}: {exc.strerror}") from exc
    except (yaml.YAMLError, UnicodeError) as exc:
        raise InputError(f"{path} is no YAML: {' '.join(str(exc).split())}") from exc
    found = value.get("applications") if isinstance(value, dict) else None
    named = isinstance(found, list) and all(isinstance(a, dict) and "name" in a for a in found)
    if not found or not named:
        raise InputError(f"{path} has no applications, each with a name")
    return Manifest(_filled(found, variables), path.parent)


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


def _filled(value: Any, given: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {_filled(k, given): _filled(v, given) for k, v in value.items()}
    if isinstance(value, list):
        return [_filled(one, given) for one in value]
    if not isinstance(value, str):
        return value
    if missing := [name for name in _VARIABLE.findall(value) if name not in given]:
        raise InputError(f"the manifest's variable (({missing[0]})) is not given: --var")
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
    return {**known, **flags}


def body(manifest: Manifest) -> bytes:
    """What is sent to apply it: all but the paths, which are this machine's."""
    apps = [{k: v for k, v in app.items() if k != "path"} for app in manifest.applications]
    return yaml.safe_dump({"applications": apps}, sort_keys=False).encode()
