"""The `meshnet` command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from meshnet.model.errors import MeshnetError


def _typer(args: Sequence[str]) -> int:
    import typer

    from meshnet.cli import cf, lab
    from meshnet.cli.capture import capture, scapy
    from meshnet.cli.observe import observe
    from meshnet.cli.trace import trace

    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        help="Cloud Foundry's service mesh on eBPF and netfilter.",
    )
    app.add_typer(lab.app, name="lab")
    app.add_typer(cf.app, name="cf")
    app.command()(observe)
    app.command()(capture)
    app.command()(scapy)
    app.command()(trace)

    @app.command()
    def doctor(json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
        """What this kernel and machine can and cannot do, with a remedy a row."""
        from meshnet.cli.doctor import doctor as show

        raise typer.Exit(show(json))

    @app.command(hidden=True)
    def run(room: str, config: str = typer.Option(..., "--config")) -> None:
        """Run one daemon: meshnet run ROOM --config FILE."""

    bench = typer.Typer(no_args_is_help=True, help="Measure the mesh that is up.")
    app.add_typer(bench, name="bench")

    @bench.command()
    def convergence(
        times: int = typer.Option(20, "-n", "--times", min=1, max=1000, help="How many routes."),
        json: bool = typer.Option(False, "--json", help="Print JSON with every sample."),
    ) -> None:
        """From the API's answer to a map-route to the first request served by the new route."""
        from meshnet.bench.convergence import run as measure

        raise typer.Exit(measure(times, as_json=json))

    try:
        status = app(args=list(args), prog_name="meshnet", standalone_mode=False)
    except typer.Exit as exc:
        return int(exc.exit_code)
    except typer.Abort:
        return 130
    except Exception as exc:
        if hasattr(exc, "show") and hasattr(exc, "exit_code"):  # click's own usage errors
            exc.show()
            return int(exc.exit_code)
        raise
    return status if isinstance(status, int) else 0


def main(args: Sequence[str] | None = None) -> None:
    """Entry point: errors meshnet raises on purpose end as one line and their exit status."""
    line = list(sys.argv[1:] if args is None else args)
    try:
        if line[:1] == ["run"] and "--help" not in line:
            from meshnet.cli.run import main as run_daemon

            sys.exit(run_daemon(line[1:]))
        sys.exit(_typer(line))
    except MeshnetError as exc:
        print(f"meshnet: {exc}", file=sys.stderr)
        sys.exit(exc.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)


if __name__ == "__main__":
    main()
