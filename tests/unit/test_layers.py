"""The layer table, held as data against every import in the tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOP = {"cli", "bench", "inspect", "netns_lab"}
ROOMS = {
    *("capi", "bbs", "copilot", "pilot", "policy", "cell", "dns", "ingress", "lease", "observe"),
    "logcache",
}
LOWER = {"wire", "kernel", "store", "proxy"}
MAY_IMPORT = {
    **{name: TOP | ROOMS | LOWER | {"model"} for name in TOP},
    **{name: {"wire", "store", "proxy", "model"} for name in ROOMS},
    "kernel": {"model"},
    "wire": {"model", "proxy"},
    "store": {"model"},
    "proxy": {"model"},
    "model": set(),
}
# Rooms that change the host, and so may use the kernel layer.
for room in ("cell", "policy", "ingress", "pilot", "observe"):
    MAY_IMPORT[room] = MAY_IMPORT[room] | {"kernel"}
KERNEL_ONLY = {"bcc", "pyroute2", "iptc"}


def modules() -> Iterator[tuple[str, Path]]:
    for package in ("meshnet", "netns_lab"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if "gen" in parts or "apps" in parts:
                continue
            yield ".".join(p for p in parts if p != "__init__"), path


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def layer(module: str) -> str:
    parts = module.split(".")
    return parts[0] if parts[0] == "netns_lab" else (parts[1] if len(parts) > 1 else "")


def ours(name: str) -> bool:
    return name.split(".")[0] in ("meshnet", "netns_lab") and bool(layer(name))


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda v: str(v)[-40:])
def test_imports_point_downward_and_rooms_never_meet(module: str, path: Path) -> None:
    own = layer(module)
    if not own:
        return
    allowed = MAY_IMPORT[own] | {own}
    assert {layer(name) for name in imported(path) if ours(name)} - allowed == set()


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda v: str(v)[-40:])
def test_the_host_is_touched_below_kernel_and_grpc_at_the_edges(module: str, path: Path) -> None:
    roots = {name.split(".")[0] for name in imported(path)}
    if layer(module) != "kernel":
        assert roots & KERNEL_ONLY == set()
    if not path.stem.endswith(("_server", "_client")):
        assert "grpc" not in roots


def test_there_is_no_import_cycle() -> None:
    names = {name for name, _ in modules()}
    graph = {name: _at_import(path) & names - {name} for name, path in modules()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in graph[name]:
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def _at_import(path: Path) -> set[str]:
    """Modules imported when this one is: function bodies and TYPE_CHECKING blocks left out."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def test_every_package_is_in_the_wheel() -> None:
    import tomllib

    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for top in ("meshnet", "netns_lab")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert set(named) == found
