"""`meshnet cf app` and `apps`: what runs, laid out as the cf CLI does."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from meshnet.cli.cf_options import Json, Name
from meshnet.cli.cf_session import session
from meshnet.cli.client import Client, dump
from meshnet.cli.tables import one_line, table
from meshnet.model.errors import NotFound

Row = dict[str, Any]
_KB = 1024
_HEADS = (
    "",
    "state",
    "ready",
    "since",
    "cpu",
    "memory",
    "disk",
    "logging",
    "cell",
    "address",
    "details",
)


def apps(json: Json = False) -> None:
    """List apps."""
    client = session()
    found = client.apps()
    routes = client.routes()
    rows = []
    for one in found:
        try:
            counts = [_count(process, left) for process, left in processes(client, one["guid"])]
        except NotFound:  # it was deleted meanwhile
            continue
        rows.append(
            {"name": one["name"], "state": one["state"].lower(), "processes": ", ".join(counts),
             "routes": [r["url"] for r in routes if leads_to(r, one["guid"])]}
        )  # fmt: skip
    if json:
        return dump(rows)
    if not rows:
        return print("No apps found", file=sys.stderr)
    columns = ("name", "requested state", "processes", "routes")
    table(columns, ((r["name"], r["state"], r["processes"], ", ".join(r["routes"])) for r in rows))


def processes(client: Client, app_guid: str) -> list[tuple[Row, list[Row]]]:
    """An app's processes, each with its instances; the first is the app's own.

    The others are of versions that a deployment takes away: they may be gone any moment.

    Raises:
        NotFound: the app is gone.
    """
    own, *others = (process["guid"] for process in client.processes(app_guid))
    found = [(client.process(own), client.process_stats(own))]
    for guid in others:
        with contextlib.suppress(NotFound):
            found.append((client.process(guid), client.process_stats(guid)))
    return found


def _count(process: Row, rows: Sequence[Row]) -> str:
    return f"{process['type']}:{_running(rows)}"


def _running(rows: Sequence[Row]) -> str:
    return f"{sum(row['state'] == 'RUNNING' for row in rows)}/{len(rows)}"


def leads_to(route: Row, app_guid: str) -> bool:
    """Whether an app is among a route's destinations."""
    return any(d["app"]["guid"] == app_guid for d in route["destinations"])


def show(
    name: Name,
    guid: Annotated[bool, typer.Option("--guid", help="Print its guid only.")] = False,
    json: Json = False,
) -> None:
    """Show an app and its instances.

    Example: meshnet cf app hello
    """
    client = session()
    found = client.app(name)
    if guid:
        return print(found["guid"])
    if json:
        return dump(_everything(client, found))
    _show_app(client, found)
    for process, rows in processes(client, found["guid"]):
        print()
        _show_process(process, rows)
    if deployment := client.active_deployment(found["guid"]):
        _show_deployment(deployment)


def _everything(client: Client, found: Row) -> Row:
    guid = found["guid"]
    urls = [r["url"] for r in client.routes() if leads_to(r, guid)]
    process, rows = client.process(guid), client.stats(guid)
    more = {"deployment": client.active_deployment(guid)}
    return {**found, "process": process, "stats": rows, "routes": urls, **more}


def _show_app(client: Client, found: Row) -> None:
    try:
        droplet = client.get(f"/v3/apps/{found['guid']}/droplets/current")
    except NotFound:
        droplet = {"created_at": "", "stack": "", "buildpacks": []}
    urls = [r["url"] for r in client.routes() if leads_to(r, found["guid"])]
    _pairs(
        ("name:", found["name"]),
        ("requested state:", found["state"].lower()),
        ("routes:", ", ".join(urls)),
        ("last uploaded:", friendly(droplet["created_at"])),
        ("stack:", droplet["stack"] or found["lifecycle"]["data"].get("stack") or ""),
        ("buildpacks:", ""),
    )
    heads = ("name", "version", "detect output", "buildpack name")
    keys = ("name", "version", "detect_output", "buildpack_name")
    if packs := droplet["buildpacks"]:
        table(heads, ([pack[key] or "" for key in keys] for pack in packs), indent="\t")


def _show_process(process: Row, rows: Sequence[Row]) -> None:
    command = [("start command:", process["command"])] if process["command"] else []
    _pairs(
        ("type:", process["type"]),
        ("sidecars:", ""),
        ("instances:", _running(rows)),
        ("memory usage:", f"{process['memory_in_mb']}M"),
        *command,
    )
    if not rows:
        return print("There are no running instances of this process.")
    table(_HEADS, map(_instance, rows))


def _instance(row: Row) -> tuple[str, ...]:
    usage = row["usage"]
    return (
        f"#{row['index']}",
        row["state"].lower(),
        str(row.get("routable", "")).lower(),
        since(row),
        f"{usage.get('cpu', 0) * 100:.1f}%",
        f"{size(usage.get('mem', 0))} of {size(row['mem_quota'])}",
        f"{size(usage.get('disk', 0))} of {size(row['disk_quota'])}",
        _logging(usage, row.get("log_rate_limit", -1)),
        row.get("cell_id", ""),
        row.get("instance_internal_ip", ""),
        one_line(row["details"] or ""),
    )


def _logging(usage: Row, limit: int) -> str:
    """The rate and its limit; the limit alone where the platform does not measure the rate."""
    most = "unlimited" if limit == -1 else f"{size(limit)}/s"
    return f"{size(usage['log_rate'])}/s of {most}" if "log_rate" in usage else most


def since(row: Row) -> str:
    """When an instance came into its state, as cf shows it; "" where it is in none yet."""
    if not row["uptime"] and row["state"] == "DOWN":
        return ""
    when = datetime.now(UTC) - timedelta(seconds=row["uptime"])
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def size(count: int) -> str:
    """Bytes as cf shows them: 10.2M, 64M, 0B."""
    for unit, letter in ((_KB**4, "T"), (_KB**3, "G"), (_KB**2, "M"), (_KB, "K")):
        if count >= unit:
            return f"{count / unit:.1f}".removesuffix(".0") + letter
    return f"{count}B"


def friendly(time: str) -> str:
    """A time of the API (RFC 3339) as cf shows it, in the user's time zone; "" stays."""
    if not time:
        return ""
    local = datetime.fromisoformat(time.replace("Z", "+00:00")).astimezone()
    return local.strftime("%a %d %b %H:%M:%S %Z %Y")


def _show_deployment(deployment: Row) -> None:
    status = deployment["status"]
    changed = status.get("details", {}).get("last_status_change", "")
    when = f" (since {friendly(changed)})" if changed else ""
    print(f"\nActive deployment with status {status['reason']}{when}")
    _pairs(("strategy:", deployment["strategy"]))


def _pairs(*pairs: tuple[str, str]) -> None:
    width = max(len(key) for key, _ in pairs) + 3
    for key, value in pairs:
        print(f"{key:<{width}}{one_line(value)}".rstrip())
