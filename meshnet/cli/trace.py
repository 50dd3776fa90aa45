"""`meshnet trace`."""

from __future__ import annotations

import json as json_module
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshnet.cli import complete
from meshnet.model.errors import InputError

if TYPE_CHECKING:
    from meshnet.inspect.trace.ending import Namer
    from meshnet.inspect.trace.model import Evidence, Hop


def trace(
    source: Annotated[
        str, typer.Argument(help="A node, APP or APP/INDEX.", autocompletion=complete.places)
    ],
    url: Annotated[str, typer.Argument(help="http://HOST[:PORT]/PATH")] = "",
    packet: Annotated[str, typer.Option("--packet", help="A scapy packet instead.")] = "",
    method: Annotated[str, typer.Option("-X", "--request", help="HTTP method.")] = "GET",
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds.")] = 20.0,
    pcap: Annotated[str, typer.Option("--pcap", help="Also write the packets (pcapng).")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    lab: Annotated[
        str | None,
        typer.Option("--lab", help="Its name; or MESHNET_LAB.", autocompletion=complete.labs),
    ] = None,
) -> None:
    """Send one real request and show its way, hop by hop, with times and evidence.

    What was not seen but follows from what was is marked `inferred`. The exit status is 1 where the
    request did not reach an app.

    Example: meshnet trace frontend http://backend.istio.apps.internal:8080/
    """
    from meshnet.inspect import Lab
    from meshnet.inspect.trace import packet as packets
    from meshnet.inspect.trace.collect import Collector
    from meshnet.inspect.trace.ending import ending
    from meshnet.inspect.trace.hops import hops
    from meshnet.inspect.trace.send import check_url, send

    if bool(url) == bool(packet):
        raise InputError("trace what? a URL, or --packet 'IP(dst=...)/UDP(dport=...)'")
    chosen = Lab(lab)
    collector = Collector(chosen)
    start = collector.source(source)
    if url:
        check_url(url)
        evidence = collector.run(start, lambda: send(start, url, method, timeout))
        found = hops(evidence, chosen.names)
        found.append(ending(evidence, found, chosen.names))
    else:
        crafted = packets.craft(packet, start)
        evidence = collector.run(start, lambda: packets.send(chosen, start, crafted))
        evidence = packets.marked(evidence)
        found = hops(evidence, chosen.names)
        found.append(_fate(evidence, found, chosen.names))
    if pcap:
        _save(pcap, collector)
    _print(evidence, found, json)
    raise typer.Exit(1 if found[-1].failed else 0)


def _fate(evidence: Evidence, found: list[Hop], names: Namer) -> Hop:
    from meshnet.inspect.flow_text import reason
    from meshnet.inspect.trace.model import Hop
    from meshnet.inspect.trace.packet import arrived

    if point := arrived(evidence, names.address(evidence.request.remote[0])):
        return Hop(evidence.request.ended_ns, point, "it arrived", f"capture {point}")
    last = [hop for hop in found if hop.what.startswith("→")]
    where = f"it was last seen at {last[-1].where}" if last else "it was seen nowhere"
    denied = [flow for flow in evidence.flows if flow.verdict == "denied"]
    why = f": denied by {denied[-1].cell}, {reason(denied[-1])}" if denied else ""
    what = f"it did not arrive; {where}{why}"
    return Hop(evidence.request.ended_ns, "end", what, "no capture", failed=True)


def _save(path: str, collector: Any) -> None:
    from meshnet.inspect.pcapng import Writer
    from meshnet.model.errors import KernelError

    try:
        with open(path, "wb", buffering=0) as file:
            writer = Writer(file, [p.name for p in collector.points], "", 262_144)
            for one in collector.frames:
                writer.write(one.number, one.frame)
    except OSError as exc:
        raise KernelError(f"cannot write {path}: {exc.strerror}", exc.errno or 0) from exc


def _print(evidence: Evidence, found: list[Hop], json: bool) -> None:
    request = evidence.request
    if json:
        rows = [
            {
                "time_ns": hop.time_ns,
                "ms": (hop.time_ns - found[0].time_ns) / 1e6,
                "where": hop.where,
                "what": hop.what,
                "evidence": hop.evidence,
                "inferred": hop.inferred,
                "failed": hop.failed,
                "advice": hop.advice,
            }
            for hop in found
        ]
        head = {
            "source": request.source,
            "url": request.url,
            "mode": evidence.mode,
            "marker": request.marker,
        }
        print(json_module.dumps({**head, "status": request.status, "hops": rows}, indent=2))
        return
    mode = f", mode {evidence.mode}" if evidence.mode else ""
    print(f"{request.source} → {request.url}{mode}")
    width = max(len(hop.where) for hop in found)
    red, plain = ("\033[31m", "\033[0m") if sys.stdout.isatty() else ("", "")
    for hop in found:
        ms = (hop.time_ns - found[0].time_ns) / 1e6
        mark = "✗ " if hop.failed else ""
        note = f"[{'inferred: ' if hop.inferred else ''}{hop.evidence}]"
        colour = red if hop.failed else ""
        print(f"{ms:9.3f} ms  {hop.where:<{width}}  {colour}{mark}{hop.what}{plain}  {note}")
    if found[-1].advice:
        print(f"{'':9}     try: {found[-1].advice}")
