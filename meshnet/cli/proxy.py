"""`meshnet proxy-config` and `meshnet proxy-status`."""

from __future__ import annotations

import enum
import json as jsons
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshnet.cli import complete
from meshnet.model.errors import InputError, NotFound

if TYPE_CHECKING:
    from meshnet.cli.proxy_lookup import Proxy
    from meshnet.proxy.dump import Item

_DIFFERS = 1


class Output(enum.StrEnum):
    """How proxy-config shows it."""

    short = "short"
    json = "json"


class Kind(enum.StrEnum):
    """What proxy-config shows."""

    all = "all"
    listeners = "listeners"
    routes = "routes"
    clusters = "clusters"
    endpoints = "endpoints"


# As istioctl has them.
_SHORT = {"l": Kind.listeners, "r": Kind.routes, "c": Kind.clusters, "ep": Kind.endpoints}


def _kind(text: str) -> Kind | None:
    """What a word asks for: routes, route or r."""
    if text in _SHORT:
        return _SHORT[text]
    return next((kind for kind in Kind if text in (kind, kind.removesuffix("s"))), None)


def _kinds(incomplete: str) -> list[str]:
    return [kind.value for kind in Kind if kind.startswith(incomplete)]


def in_order(one: str, other: str) -> tuple[str, Kind]:
    """(proxy, what to show) of two words: the proxy first, or last, as istioctl has it.

    Raises:
        InputError: neither says what to show.
    """
    for proxy, text in ((one, other), (other, one)):
        if kind := _kind(text):
            return proxy, kind
    raise InputError(f"show what of {one}? {', '.join(Kind)}, not {other!r}")


_Lab = Annotated[
    str | None,
    typer.Option("--lab", help="Its name; or MESHNET_LAB.", autocompletion=complete.labs),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def proxy_config(
    proxy: Annotated[
        str, typer.Argument(help="APP, APP/INDEX or a router.", autocompletion=complete.places)
    ],
    kind: Annotated[
        str,
        typer.Argument(help=f"What of it: {', '.join(Kind)}.", autocompletion=_kinds),
    ],
    name: Annotated[str, typer.Option("--name", help="Only names that contain this.")] = "",
    fqdn: Annotated[str, typer.Option("--fqdn", help="Only what is for this host.")] = "",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Only what is for this port.")
    ] = 0,
    output: Annotated[
        Output, typer.Option("-o", "--output", help="A table, or Envoy's JSON, whole.")
    ] = Output.short,
    json: Annotated[bool, typer.Option("--json", help="As -o json.")] = False,
    lab: _Lab = None,
) -> None:
    """The listeners, routes, clusters or endpoints that a proxy has, as it says itself; or all.

    istioctl's order and words do, too: proxy-config route frontend.

    Example: meshnet proxy-config frontend endpoints --fqdn backend.istio.apps.internal
    """
    from meshnet.cli import proxy_lookup
    from meshnet.cli.proxy_tables import is_for
    from meshnet.proxy import dump

    given = {"--name": name, "--fqdn": fqdn, "--port": port}
    filters = [f"{option} {value}" for option, value in given.items() if value]
    proxy, wanted = in_order(proxy, kind)
    found = proxy_lookup.find(_chosen(lab), proxy)
    whole = found.dump()
    kinds = list(dump.KINDS) if wanted is Kind.all else [wanted.value]
    items = {
        key: [
            one
            for one in dump.has(whole, key)
            if name in one.name and is_for(key, one, fqdn.lower(), port)
        ]
        for key in kinds
    }
    if json or output is Output.json:
        bodies = {key: [one.body for one in some] for key, some in items.items()}
        print(jsons.dumps(bodies if wanted is Kind.all else bodies[wanted.value], indent=2))
    elif any(items.values()) or not filters:
        _tables(items)
    if filters and not any(items.values()):
        what = "resource" if wanted is Kind.all else wanted.removesuffix("s")
        raise NotFound(f"no {what} of {found.name} matches {' '.join(filters)}")


def _tables(items: dict[str, list[Item]]) -> None:
    from meshnet.cli.proxy_tables import TABLES
    from meshnet.cli.tables import table

    for number, (key, some) in enumerate(items.items()):
        heads, rows = TABLES[key]
        if number:
            print()
        table(heads, [row for one in some for row in rows(one)])


def proxy_status(
    proxy: Annotated[
        str, typer.Argument(help="APP, APP/INDEX or a router.", autocompletion=complete.places)
    ] = "",
    json: _Json = False,
    lab: _Lab = None,
) -> None:
    """Which proxies have what Pilot wants them to have; of one PROXY, what differs.

    in step: acknowledged. stale: sent, or to be sent, and not acknowledged yet. rejected: some
    of it was refused, and is held back until it differs. not asked: the proxy wants none. away:
    not connected. Status 1 where PROXY differs, 2 where a Pilot or a cell's agent does not answer.

    Example: meshnet proxy-status frontend/0
    """
    from meshnet.cli import proxy_lookup
    from netns_lab import status

    chosen = _chosen(lab)
    if not proxy:
        found, silent = proxy_lookup.every(chosen)
        _all(found, silent, json)
        if silent:
            raise proxy_lookup.NoAnswer(status.silence(silent))
        return
    raise typer.Exit(_one(proxy_lookup.find(chosen, proxy), json))


def _chosen(lab: str | None) -> Any:
    from netns_lab import lab as labs
    from netns_lab import paths

    labs.need_root()
    return paths.chosen(lab)


def _all(found: list[Proxy], silent: list[str], json: bool) -> None:
    from meshnet.cli.tables import one_line, table
    from meshnet.proxy.xds import SERVICES
    from netns_lab.status import NO_ANSWER

    mute = [name.removesuffix(".pilot") for name in silent if name.endswith(".pilot")]
    if json:
        objects = [{"proxy": p.name, "pilot": p.pilot, **p.status} for p in found]
        objects += [{"proxy": None, "pilot": pilot, "error": NO_ANSWER} for pilot in mute]
        print(jsons.dumps(objects, indent=2))
        return
    services = tuple(SERVICES.values())
    rows = []
    for one in found:
        steps = one.status["steps"] if one.status["connected"] else dict.fromkeys(services, "away")
        status = one.status
        rows.append(
            (one.name, one.pilot, *(steps[name] for name in services), status["pushes"],
             status["rejected"], one_line(status["last_error"]))
        )  # fmt: skip
    rows += [("-", pilot, *["-"] * (len(services) + 2), NO_ANSWER) for pilot in mute]
    table(("proxy", "pilot", *services, "pushes", "rejected", "last error"), rows)


def _one(found: Proxy, json: bool) -> int:
    from meshnet.proxy import dump

    differences = dump.difference(found.wanted(), found.dump())
    if json:
        print(jsons.dumps(differences, indent=2))
    else:
        for kind, lines in differences.items():
            print(f"{kind} {'differ' if lines else 'match'}", *lines, sep="\n")
    return _DIFFERS if any(differences.values()) else 0
