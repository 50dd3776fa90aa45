"""Names for shell completion: what cannot be found out at once is not offered."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def apps(incomplete: str) -> list[str]:
    """Apps of the lab that is up, or of the API in the environment."""
    return _names(incomplete, _apps)


def places(incomplete: str) -> list[str]:
    """Nodes and apps of the lab that is up."""
    return _names(incomplete, lambda: [*_nodes(), *_apps()])


def cells(incomplete: str) -> list[str]:
    """Cells of the lab that is up."""
    return _names(incomplete, _cells)


def labs(incomplete: str) -> list[str]:
    """Labs that are up."""
    from netns_lab import paths

    return _names(incomplete, paths.labs)


def modes(incomplete: str) -> list[str]:
    """Modes, and the word that takes an app's own away."""
    from meshnet.model.modes import MODES

    return _names(incomplete, lambda: [*MODES, "default"])


def _names(incomplete: str, find: Callable[[], Iterable[str]]) -> list[str]:
    try:
        return sorted(name for name in find() if name.startswith(incomplete))
    except Exception:  # whatever it is, a half-typed line is no place to hear of it
        return []


def _apps() -> list[str]:
    from meshnet.cli.cf_session import session

    return [app["name"] for app in session(timeout=1.0).apps()]


def _cells() -> list[str]:
    from netns_lab import paths, status

    return status.cells(paths.chosen())


def _nodes() -> list[str]:
    from netns_lab import paths, status

    return [node["name"] for node in status.lab(paths.chosen())["nodes"]]
