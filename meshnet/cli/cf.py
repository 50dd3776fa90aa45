"""`meshnet cf ...`: placeholder until the commands are written."""

import typer

app = typer.Typer()
