"""`meshnet capture` and `meshnet scapy`."""

from __future__ import annotations

import json as json_module
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshnet.cli import complete
from meshnet.model.errors import InputError, KernelError

if TYPE_CHECKING:
    from meshnet.inspect.capture import Capture, Captured
    from meshnet.inspect.pcapng import Writer

Lab = Annotated[
    str | None,
    typer.Option("--lab", help="Its name; or MESHNET_LAB.", autocompletion=complete.labs),
]


def capture(
    points: Annotated[
        list[str] | None,
        typer.Argument(help="POINT ... (see --list).", autocompletion=complete.places),
    ] = None,
    interface: Annotated[
        list[str] | None,
        typer.Option("-i", help="A POINT, as tcpdump has it.", autocompletion=complete.places),
    ] = None,
    filter_: Annotated[str, typer.Option("-f", "--filter", help="In tcpdump's language.")] = "",
    write: Annotated[str, typer.Option("-w", "--write", help="A pcapng file; - = stdout.")] = "",
    count: Annotated[int, typer.Option("-c", "--count", help="Stop after so many.")] = 0,
    seconds: Annotated[float, typer.Option("--for", help="Stop after so many seconds.")] = 0.0,
    snaplen: Annotated[int, typer.Option("-s", "--snaplen", min=64, max=262_144)] = 262_144,
    json: Annotated[bool, typer.Option("--json", help="An object a packet.")] = False,
    numeric: Annotated[bool, typer.Option("-n", hidden=True)] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the lab's points.")] = False,
    lab: Lab = None,
) -> None:
    """Show the packets that pass points of the lab, in the lab's own names.

    A point is a node or an app's instance, and a place in it: frontend/0:eth0, frontend/0:lo,
    frontend/0:veth (the cell's side), cell-1:vtep, cell-1:underlay, router-1, host.

    Example: meshnet capture frontend cell-1:underlay -f 'tcp port 8080 or udp port 4789'
    """
    from meshnet.cli.stopping import stopping
    from meshnet.inspect import Lab as Inspected

    chosen = Inspected(lab)
    if list_:
        _list(chosen, json)
        return
    if numeric:
        print("-n does nothing: a name and its address are both shown", file=sys.stderr)
    points = [*(points or ()), *(interface or ())]
    if not points:
        raise InputError("capture where? name points (meshnet capture --list shows them)")
    for text in points:
        if " " in text:
            raise InputError(f"no point {text!r}: a filter goes in -f: -f {text!r}")
    found = list(dict.fromkeys(p for text in points for p in chosen.resolve(text)))
    # Told before anything is captured, and not after minutes.
    _check_writable(write)
    with chosen.capture(*found, filter=filter_, snaplen=snaplen) as taps:
        names = ", ".join(point.name for point in taps.points)
        print(f"capturing at {names}; Ctrl-C ends", file=sys.stderr, flush=True)
        shown = 0
        try:
            with stopping() as stop, _writer(write, taps, filter_, snaplen) as writer:
                for one in taps.follow(seconds or None, stop):
                    _show(one, chosen, json) if writer is None else _write(writer, one, write)
                    shown += 1
                    if count and shown >= count:
                        break
        finally:
            _summary(taps)


def _list(chosen: Any, json: bool) -> None:
    from meshnet.cli.tables import table

    found = chosen.points()
    if json:
        rows = [{"point": p.name, "interface": p.ifname, "address": p.address} for p in found]
        print(json_module.dumps(rows, indent=2))
    else:
        table(("point", "interface", "address"), [(p.name, p.ifname, p.address) for p in found])


def _check_writable(path: str) -> None:
    """Leaves no file, and an old one whole. Raises KernelError: it cannot be written."""
    if not path or path == "-":
        return
    there = os.path.lexists(path)
    try:
        with open(path, "ab"):
            pass
        if not there:
            os.unlink(path)
    except OSError as exc:
        raise KernelError(f"cannot write {path}: {exc.strerror}", exc.errno or 0) from exc


@contextmanager
def _writer(path: str, taps: Capture, text: str, snaplen: int) -> Iterator[Writer | None]:
    from meshnet.inspect.pcapng import Writer

    if not path:
        yield None
        return
    names = [point.name for point in taps.points]
    try:
        # Unbuffered: a block is on the file when it is written.
        with open(sys.stdout.fileno() if path == "-" else path, "wb", buffering=0) as file:
            yield Writer(file, names, text, snaplen)
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise KernelError(f"cannot write {path}: {exc.strerror}", exc.errno or 0) from exc


def _write(writer: Writer, one: Captured, path: str) -> None:
    try:
        writer.write(one.number, one.frame)
    except BrokenPipeError:
        raise
    except OSError as exc:
        text = f"cannot write {path}: {exc.strerror}; it holds every packet before"
        raise KernelError(text, exc.errno or 0) from exc


def _show(one: Captured, chosen: Any, json: bool) -> None:
    from dataclasses import asdict

    from meshnet.inspect.decode import decode, line

    packet = decode(one.frame.data, chosen.vxlan_port)
    if json:
        head = {
            "time_ns": one.frame.time_ns,
            "point": one.point.name,
            "direction": "out" if one.frame.outgoing else "in",
            "bytes": one.frame.length,
        }
        print(json_module.dumps({**head, **asdict(packet)}), flush=True)
        return
    seconds, rest = divmod(one.frame.time_ns, 1_000_000_000)
    clock = datetime.fromtimestamp(seconds).strftime("%H:%M:%S")
    arrow = "out" if one.frame.outgoing else "in "
    text = line(packet, chosen.names)
    print(f"{clock}.{rest // 1000:06d} {one.point.name:<18} {arrow} {text}", flush=True)


def _summary(taps: Capture) -> None:
    for point, seen, dropped in zip(taps.points, taps.seen, taps.dropped(), strict=True):
        print(f"{point.name}: {seen} captured, {dropped} dropped by the kernel", file=sys.stderr)


def scapy(
    command: Annotated[str, typer.Option("-c", help="Run this Python text and exit.")] = "",
    lab: Lab = None,
) -> None:
    """A scapy session with the lab's points and names: sniff, send, expect.

    Example: meshnet scapy -c 'print(sniff_at("frontend/0", count=3, timeout=5))'
    """
    from meshnet.inspect.session import start

    start(lab, command)
