"""`meshnet bench ...`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from meshnet.model.errors import InputError

app = typer.Typer(
    no_args_is_help=True, help="Measure: how fast routes serve, what redirection costs."
)

QUICK_ROUNDS, FULL_ROUNDS = 6, 8
Json = Annotated[bool, typer.Option("--json", help="Print JSON with every sample.")]


@app.command()
def convergence(
    times: Annotated[int, typer.Option("-n", "--times", min=1, max=1000, help="Routes.")] = 20,
    json: Json = False,
) -> None:
    """From the API's answer to a map-route to the first request served by the new route."""
    from meshnet.bench.convergence import run as measure

    raise typer.Exit(measure(times, as_json=json))


@app.command()
def redirection(
    quick: Annotated[bool, typer.Option("--quick", help="One cell: under 3 minutes.")] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="A way; may be repeated.")
    ] = None,
    connections: Annotated[list[int] | None, typer.Option("--connections")] = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="keep-alive or new.")] = None,
    place: Annotated[list[str] | None, typer.Option("--place", help="same or across.")] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=0, max=1000, help="Default 8.")] = 0,
    seconds: Annotated[float, typer.Option("--seconds", min=1, max=600, help="A sample's.")] = 2.0,
    seed: Annotated[int, typer.Option("--seed", help="Of all chance.")] = 0,
    output: Annotated[str, typer.Option("-o", "--output", help="A directory.")] = "",
    json: Json = False,
) -> None:
    """Measure the ways from an app to another against each other, in a lab of its own.

    Example: meshnet bench redirection --quick -o /tmp/bench
    """
    from meshnet.bench import redirection as bench
    from meshnet.bench.plan import CONNECTIONS, KINDS, chosen, matrix
    from netns_lab.lab import need_root

    need_root()
    options = bench.Options(
        cells=matrix(
            ["same cell"] if quick and not place else _places(place),
            ["keep-alive"] if quick and not kind else _known(kind, KINDS, "--kind"),
            [32] if quick and not connections else _counts(connections) or CONNECTIONS,
        ),
        variants=chosen(only or []),
        rounds=rounds or (QUICK_ROUNDS if quick else FULL_ROUNDS),
        seconds=seconds,
        seed=seed or int(datetime.now().timestamp()) % 1_000_000,
    )
    directory = Path(output or f"bench-{datetime.now():%Y%m%d-%H%M%S}")
    result = bench.run(options, directory)
    if not result["samples"]:
        raise typer.Exit(1)
    _report(result, directory, json)
    raise typer.Exit(0 if result["complete"] and not result["failed"] else 1)


@app.command()
def events(
    rounds: Annotated[int, typer.Option("--rounds", min=2, max=1000)] = 10,
    seconds: Annotated[float, typer.Option("--seconds", min=1, max=600, help="A sample's.")] = 2.0,
    seed: Annotated[int, typer.Option("--seed", help="Of all chance.")] = 1,
    json: Json = False,
) -> None:
    """What flow events cost while somebody watches, in a lab of its own."""
    import json as json_module
    from dataclasses import asdict
    from statistics import median

    from meshnet.bench.events import run
    from meshnet.bench.stats import said
    from meshnet.cli.tables import table
    from netns_lab.lab import need_root

    need_root()
    found = run(rounds, seconds, seed)
    if json:
        print(
            json_module.dumps([{**row, "ratio": asdict(row["ratio"])} for row in found], indent=1)
        )
        return
    rows = [
        (r["kind"], r["way"], f"{median(r['unwatched']):,.0f}", f"{median(r['watched']):,.0f}",
         said(r["ratio"]), f"[{r['ratio'].low:.3f} {r['ratio'].high:.3f}]")
        for r in found
    ]  # fmt: skip
    table(("load", "way", "req/s unwatched", "watched", "ratio", "interval"), rows)
    print(f"\nseed {seed}, {rounds} rounds")


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="A result.json")],
    second: Annotated[Path, typer.Argument(help="Another one")],
    json: Json = False,
) -> None:
    """Compare the ratios to direct of two results; non-zero where intervals do not overlap."""
    import json as json_module
    from dataclasses import asdict

    from meshnet.bench.compare import compare as compared
    from meshnet.bench.compare import read
    from meshnet.cli.tables import table

    found = compared(read(first), read(second))
    if not found:
        raise InputError("the two results have no cell of the matrix in common")
    if json:
        print(json_module.dumps([{**asdict(c), "agree": c.agree} for c in found], indent=2))
    else:
        words = {(True, True): "agree", (False, True): "overlap", (False, False): "DIFFER"}
        rows = [
            (str(c.cell), c.variant, str(c.first), str(c.second), words[c.agree, c.overlap])
            for c in found
        ]
        table(("cell", "way", str(first), str(second), ""), rows)
    raise typer.Exit(0 if all(c.overlap for c in found) else 1)


def _report(result: dict[str, Any], directory: Path, json: bool) -> None:
    import json as json_module

    from meshnet.bench.page import write
    from meshnet.bench.redirection import samples_of
    from meshnet.bench.summary import HEADS, cells, rows
    from meshnet.cli.tables import table

    found = rows(samples_of(result), result["seed"])
    write(directory / "index.html", result, found)
    if json:
        print(json_module.dumps(result, indent=1))
        return
    for cell in dict.fromkeys(row.cell for row in found):
        print(f"\n{cell}")
        table(HEADS, [cells(row) for row in found if row.cell == cell])
    for failed in result["failed"]:
        print(f"\ncould not run: {failed['variant']}, {failed['place']}, {failed['kind']}, "
              f"{failed['connections']} connections: {failed['why']}")  # fmt: skip
    print(f"\nseed {result['seed']}, {result['rounds']} rounds; see {directory}/index.html")


def _places(given: list[str] | None) -> list[str]:
    from meshnet.bench.plan import PLACES

    names = {"same": PLACES[0], "across": PLACES[1]}
    return [names[n] for n in _known(given, tuple(names), "--place")]


def _known(given: list[str] | None, known: tuple[str, ...], option: str) -> list[str]:
    for text in given or ():
        if text not in known:
            raise InputError(f"{option} {text!r}: one of {', '.join(known)}")
    return given or list(known)


def _counts(given: list[int] | None) -> list[int]:
    for count in given or ():
        if not 1 <= count <= 10_000:
            raise InputError(f"--connections {count}: 1 to 10000")
    return given or []
