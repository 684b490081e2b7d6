"""Commands about files and this host: measure, verify, list, doctor, dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autokd.cli.app import AsJson, Storage, app, give


@app.command()
def measure(
    file: Annotated[Path, typer.Argument(help="An ONNX file.")],
    profile: Annotated[list[str], typer.Option(help="Hardware profile, by name or YAML file; repeatable.")],
    as_json: AsJson = False,
) -> None:
    """Time an ONNX file on this host as a hardware profile says."""
    from autokd.api import measure_file
    from autokd.cli import tables
    from autokd.hardware.profile import describe_host

    found = measure_file(file, profile)
    give({"file": str(file), "host": describe_host(), "measurements": found}) if as_json else tables.measured(
        file, found
    )


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="An exported ONNX file.")],
    study: Annotated[str, typer.Option(help="The study it comes from.")],
    storage: Storage = None,
    as_json: AsJson = False,
) -> None:
    """Is the file one that the study measured, and does it still score the same here?"""
    from autokd.api import verify_file
    from autokd.cli import tables

    found = verify_file(file, study, storage)
    give(found) if as_json else tables.verified(found)
    if not found["ok"]:
        raise typer.Exit(1)


KINDS = (
    "families, modalities, data, teachers, methods, schemes, pruners, samplers, strategies, "
    "runners, spaces, profiles, devices or studies."
)
"""Written out, for looking into the registry would make every start slower; a test holds it to what is there."""


@app.command("list")
def list_(
    kind: Annotated[str, typer.Argument(help=KINDS)],
    storage: Storage = None,
    as_json: AsJson = False,
) -> None:
    """What can be named in a study file, and the studies of the ledger."""
    from autokd.api import listing
    from autokd.cli import tables

    rows = listing(kind, storage)
    give(rows) if as_json else tables.listing(rows)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check this machine: versions, devices, profiles that it can stand for, a timed A/A run."""
    from autokd.cli import tables
    from autokd.cli.doctor import examine

    found = examine()
    give(found) if as_json else tables.doctor(found)
    if not all(check["ok"] for check in found["checks"]):
        raise typer.Exit(1)


@app.command()
def dashboard(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="Open on this study.")] = None,
    storage: Storage = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port.")] = 8501,
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond loopback only when you say so.")
    ] = "127.0.0.1",
    open_: Annotated[bool, typer.Option("--open", help="Open a browser.")] = False,
) -> None:
    """Serve the dashboard."""
    from autokd.cli.serve import serve_dashboard

    raise typer.Exit(serve_dashboard(study, storage, port, host, open_))
