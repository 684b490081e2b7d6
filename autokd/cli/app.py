"""The terminal commands: parse, call Study, print. With --json standard output carries only the JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Search small students of a teacher, scored by the ONNX file that would ship.",
)

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study in the ledger.")]
Storage = Annotated[
    str | None,
    typer.Option(
        help="The ledger: a SQLAlchemy URL or a SQLite file.", envvar="AUTOKD_STORAGE", show_default="autokd.db"
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON on standard output, everything else on standard error.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the study file; repeatable, dotted."),
]
Profile = Annotated[str | None, typer.Option(help="Judge latency on this hardware profile.")]

Classes = Annotated[bool, typer.Option("--by-class", help="Also print every class's recall (--json always has it).")]


def say(text: str) -> None:
    """A line for people, on standard error."""
    Console(stderr=True, soft_wrap=True).print(text, markup=False, highlight=False)


def give(value: Any) -> None:
    """JSON on standard output; NaN and infinity, which JSON does not know, become null."""
    text = json.dumps(_finite(value), indent=1, default=str, allow_nan=False)
    (_answers or sys.stdout).write(text + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


_answers: TextIO | None = None
"""Standard output while ``--json`` sends everything else to standard error."""


@contextmanager
def json_alone() -> Iterator[None]:
    """With ``--json`` nothing but :func:`give` reaches standard output, whatever libraries or a person's own code print."""
    global _answers
    if "--json" not in sys.argv[1:]:
        yield
        return
    _answers, sys.stdout = sys.stdout, sys.stderr
    try:
        yield
    finally:
        sys.stdout, _answers = _answers, None


@contextmanager
def watching() -> Iterator[Any]:
    from autokd.cli.progress import Bar

    bar = Bar()
    try:
        yield bar
    except KeyboardInterrupt:
        bar.end()
        say("Interrupted. What is finished is kept: `autokd resume STUDY`, or the same command again, goes on.")
        raise typer.Exit(130) from None
    finally:
        bar.end()
