"""The YAML of a manifest, read as data of a few plain kinds and of bounded size."""

from __future__ import annotations

import math
from typing import Any

import yaml

from meshnet.capi.errors import ApiError, unprocessable

MAX_BYTES, MAX_APPS = 1024 * 1024, 200
_MAX_NUMBER = (
    64  # characters; YAML reads 1:1:1... to the base of 60, which takes hours for a megabyte
)
_TAG = "tag:yaml.org,2002:"
_TIMESTAMP = f"{_TAG}timestamp"
_PLAIN = (None, *(_TAG + name for name in ("null", "bool", "str", "seq", "map")))


class _Loader(yaml.SafeLoader):
    """What JSON could hold too; dates and endless numbers stay text.

    Anchors are refused: a few bytes of them hold millions.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise unprocessable("Manifest does not support Anchors and Aliases")
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _number(loader: _Loader, node: Any) -> Any:
    text = loader.construct_scalar(node)
    if len(text) > _MAX_NUMBER:
        return text
    return loader.construct_yaml_int(node) if node.tag.endswith("int") else _float(loader, node)


def _float(loader: _Loader, node: Any) -> Any:
    number = loader.construct_yaml_float(node)
    return number if math.isfinite(number) else loader.construct_scalar(node)


_Loader.yaml_constructors = {
    **{tag: yaml.SafeLoader.yaml_constructors[tag] for tag in _PLAIN},
    **dict.fromkeys((f"{_TAG}int", f"{_TAG}float"), _number),
}


def applications(text: bytes) -> list[dict[str, Any]]:
    """The applications of a manifest, keys as they are written.

    Raises:
        ApiError: 400 where it is no YAML, 422 where it holds no list of applications.
    """
    if len(text) > MAX_BYTES:
        raise unprocessable(f"The manifest is larger than {MAX_BYTES} bytes")
    try:
        found = yaml.load(text, Loader=_Loader)
    except ApiError:
        raise
    # Besides its own errors PyYAML raises what int(), chr() and hash() raise.
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as exc:
        text_of_error = "Request invalid due to parse error: invalid request body"
        raise ApiError(400, 1001, "CF-MessageParseError", text_of_error) from exc
    apps = found.get("applications") if isinstance(found, dict) else None
    if not isinstance(apps, list) or not apps:
        raise unprocessable("Cannot parse manifest with no 'applications' field.")
    if len(apps) > MAX_APPS:
        raise unprocessable(f"Manifests can hold at most {MAX_APPS} applications")
    if not all(isinstance(app, dict) and all(isinstance(k, str) for k in app) for app in apps):
        raise unprocessable("Applications must be objects with names as keys")
    return apps
