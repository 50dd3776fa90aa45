"""`meshnet bench ...`."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from meshnet.model.errors import InputError, PlatformError

app = typer.Typer(
    no_args_is_help=True, help="Measure: how fast routes serve, what redirection costs."
)

QUICK_ROUNDS, FULL_ROUNDS = 8, 14
Json = Annotated[bool, typer.Option("--json", help="Print JSON with every sample.")]


@app.command()
def convergence(
    quick: Annotated[bool, typer.Option("--quick", help="10 and 100 routes, 3 rounds.")] = False,
    routes: Annotated[
        list[int] | None,
        typer.Option("--routes", min=1, max=100_000, help="Default 10, 1000 and 10000."),
    ] = None,
    instances: Annotated[
        int | None, typer.Option("--instances", min=20, max=4000, help="Default 1000.")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option("--rounds", min=1, max=1000, help="Default 25, --quick 3.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of all chance. Default: by the clock.")
    ] = None,
    output: Annotated[str, typer.Option("-o", "--output", help="A directory.")] = "",
    json: Json = False,
) -> None:
    """From the API's answer to the first request served by what it said, in a lab of its own.

    Example: meshnet bench convergence --quick -o /tmp/bench
    """
    import json as json_module

    from meshnet.bench import convergence as bench
    from meshnet.bench import convergence_report as report
    from meshnet.cli.tables import table
    from netns_lab.lab import need_root

    options = bench.Options(
        sizes=tuple(sorted(set(routes or ([10, 100] if quick else [10, 1_000, 10_000])))),
        instances=instances or (100 if quick else 1_000),
        rounds=rounds or (3 if quick else 25),
        seed=int(datetime.now().timestamp()) % 1_000_000 if seed is None else seed,
    )
    need_root()
    directory = Path(output or f"bench-{datetime.now():%Y%m%d-%H%M%S}")
    _make(directory)
    result = bench.run(options, directory)
    found = report.rows(result)
    if json:
        print(json_module.dumps(result, indent=1))
    else:
        table(report.HEADS, [report.cells(row) for row in found])
        print(*report.notes(result, found), f"seed {options.seed}", sep="\n")
    report.write(directory / "convergence.html", result, found)
    print(f"see {directory}/convergence.html", file=sys.stderr)
    raise typer.Exit(0 if result["complete"] and not result["failed"] else 1)


@app.command()
def redirection(
    quick: Annotated[bool, typer.Option("--quick", help="One cell: under 3 minutes.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="A way, besides direct; may be repeated, as the next three."),
    ] = None,
    connections: Annotated[
        list[int] | None, typer.Option("--connections", help="At a time. Default 1, 32 and 128.")
    ] = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="keep-alive or new.")] = None,
    place: Annotated[list[str] | None, typer.Option("--place", help="same or across.")] = None,
    rounds: Annotated[
        int | None, typer.Option("--rounds", min=1, max=1000, help="Default 14, --quick 8.")
    ] = None,
    seconds: Annotated[int, typer.Option("--seconds", min=1, max=600, help="A sample's.")] = 1,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of all chance. Default: by the clock.")
    ] = None,
    output: Annotated[str, typer.Option("-o", "--output", help="A directory.")] = "",
    json: Json = False,
) -> None:
    """Measure the ways from an app to another against each other, in a lab of its own.

    Example: meshnet bench redirection --quick -o /tmp/bench
    """
    from meshnet.bench import redirection as bench
    from meshnet.bench.plan import CONNECTIONS, KINDS, chosen, matrix
    from netns_lab.lab import need_root

    options = bench.Options(
        cells=matrix(
            ["same cell"] if quick and not place else _places(place),
            ["keep-alive"] if quick and not kind else _known(kind, KINDS, "--kind"),
            [32] if quick and not connections else _counts(connections) or CONNECTIONS,
        ),
        variants=chosen(only or []),
        rounds=rounds or (QUICK_ROUNDS if quick else FULL_ROUNDS),
        seconds=seconds,
        seed=int(datetime.now().timestamp()) % 1_000_000 if seed is None else seed,
    )
    need_root()
    directory = Path(output or f"bench-{datetime.now():%Y%m%d-%H%M%S}")
    result = bench.run(options, directory)
    if not result["samples"]:
        raise typer.Exit(1)
    _report(result, directory, json)
    raise typer.Exit(0 if result["complete"] and not result["failed"] else 1)


@app.command()
def events(
    rounds: Annotated[int, typer.Option("--rounds", min=2, max=1000)] = 10,
    seconds: Annotated[int, typer.Option("--seconds", min=1, max=600, help="A sample's.")] = 2,
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
def report(
    result: Annotated[Path, typer.Argument(help="A result.json, or its directory.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the page and its plots here.")
    ] = None,
    json: Json = False,
) -> None:
    """Show a result again; with -o, make its page again."""
    from meshnet.bench.result import read

    _report(read(result), output, json)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="A result.json, or its directory.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the ratios of two results; non-zero where intervals have nothing in common."""
    import json as json_module
    from collections import Counter
    from dataclasses import asdict

    from meshnet.bench.compare import compare as compared
    from meshnet.bench.compare import differences
    from meshnet.bench.result import read
    from meshnet.cli.tables import table

    one, other = read(first), read(second)
    found = compared(one, other)
    if not found:
        raise InputError("the two results have no ratio in common")
    if json:
        print(json_module.dumps([{**asdict(c), "result": c.word} for c in found], indent=2))
    else:
        rows = [
            (str(c.cell), f"{c.variant} / {c.base}", str(c.first), str(c.second), c.word)
            for c in found
        ]
        table(("cell", "requests a second", str(first), str(second), "intervals"), rows)
        for line in differences(one, other):
            print(f"not alike: {line}")
        print(", ".join(f"{n} {word}" for word, n in Counter(c.word for c in found).items()))
    raise typer.Exit(0 if all(c.overlap for c in found) else 1)


def _report(result: dict[str, Any], directory: Path | None, json: bool) -> None:
    import json as json_module

    from meshnet.bench.page import write
    from meshnet.bench.result import samples_of
    from meshnet.bench.summary import HEADS, cells, notes, rows
    from meshnet.cli.tables import table

    samples = samples_of(result)
    found = rows(samples, result["seed"])
    if json:
        print(json_module.dumps(result, indent=1))
    else:
        for cell in dict.fromkeys(row.cell for row in found):
            print(f"\n{cell}")
            table(HEADS, [cells(row) for row in found if row.cell == cell])
        print()
        for note in notes(result, samples):
            print(note)
        print(f"seed {result['seed']}, {result['rounds']} rounds")
    if directory:
        _make(directory)
        write(directory / "index.html", result, found)
        print(f"see {directory}/index.html", file=sys.stderr)


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise PlatformError(f"cannot write {directory}: {exc.strerror}") from exc


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
