"""The `meshnet` command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from meshnet.model.errors import MeshnetError

if TYPE_CHECKING:
    import typer


def _version(value: bool) -> None:
    if value:
        import importlib.metadata

        import typer

        print(f"meshnet {importlib.metadata.version('meshnet')}")
        raise typer.Exit


def _build() -> typer.Typer:
    import typer

    from meshnet.cli import bench, cf, lab
    from meshnet.cli.capture import capture, scapy
    from meshnet.cli.observe import observe
    from meshnet.cli.proxy import proxy_config, proxy_status
    from meshnet.cli.trace import trace

    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def top(
        version: bool = typer.Option(
            False, "--version", callback=_version, is_eager=True, help="Print the version."
        ),
    ) -> None:
        """Cloud Foundry's service mesh on eBPF and netfilter."""

    app.add_typer(lab.app, name="lab")
    app.add_typer(cf.app, name="cf")
    app.add_typer(bench.app, name="bench")
    app.command()(observe)
    app.command()(capture)
    app.command()(scapy)
    app.command()(trace)
    app.command()(proxy_config)
    app.command()(proxy_status)
    # istioctl's short names.
    app.command("pc", hidden=True)(proxy_config)
    app.command("ps", hidden=True)(proxy_status)

    @app.command()
    def doctor(json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
        """What this kernel and machine can and cannot do, with a remedy a row."""
        from meshnet.cli.doctor import doctor as show

        raise typer.Exit(show(json))

    @app.command()
    def run(room: str, config: str = typer.Option(..., "--config", help="Its JSON file.")) -> None:
        """Run one daemon, the way the lab or systemd starts it."""

    return app


def _typer(args: Sequence[str]) -> int:
    import typer

    try:
        status = _build()(args=list(args), prog_name="meshnet", standalone_mode=False)
    except typer.Exit as exc:
        return int(exc.exit_code)
    except typer.Abort:
        return 130
    except Exception as exc:
        if hasattr(exc, "show") and hasattr(exc, "exit_code"):  # click's own usage errors
            return _usage(exc)
        raise
    return status if isinstance(status, int) else 0


def _usage(exc: Any) -> int:
    """One line that says what is wrong and where to read on; the whole help only where asked."""
    from meshnet.cli.tables import one_line

    command = exc.ctx.command_path if getattr(exc, "ctx", None) else "meshnet"
    if type(exc).__name__ == "NoArgsIsHelpError":
        exc.show()
    else:
        # "Value error, ..." names the library's own class.
        text = one_line(exc.format_message()).rstrip(".").replace(": Value error, ", ": ")
        if "unexpected extra argument" in text and _takes_lab(exc):
            text += ": a lab is named by --lab"
        print(f"{command}: {text} (see {command} -h)", file=sys.stderr)
    return int(exc.exit_code)


def _takes_lab(exc: Any) -> bool:
    return any("--lab" in one.opts for one in exc.ctx.command.params) if exc.ctx else False


def _undo_when_ended() -> None:
    """Have Ctrl-C, SIGTERM and a closed terminal end a command once, undoing what it began."""
    import signal

    ended = False

    def end(number: int, _: object) -> None:
        nonlocal ended
        if ended:  # an impatient second one must not stop the undoing
            return
        ended = True
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # What a shell gave to be ignored (nohup, a background job's Ctrl-C) stays ignored.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)


def main(args: Sequence[str] | None = None) -> None:
    """Entry point: errors meshnet raises on purpose end as one line and their exit status."""
    line = list(sys.argv[1:] if args is None else args)
    try:
        if line[:1] == ["run"] and not {"-h", "--help"} & set(line):
            from meshnet.cli.run import main as run_daemon

            sys.exit(run_daemon(line[1:]))
        _undo_when_ended()
        sys.exit(_typer(line))
    except MeshnetError as exc:
        from meshnet.cli.tables import one_line

        print(f"meshnet: {one_line(str(exc))}", file=sys.stderr)
        sys.exit(exc.exit_status)
    except KeyboardInterrupt:
        print("meshnet: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)


if __name__ == "__main__":
    main()
