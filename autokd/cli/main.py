"""The entry point: every command, and what errors become. Importing the three modules of commands
registers them, in the order of the help."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from autokd.cli import search

# isort: split
from autokd.cli import results

# isort: split
from autokd.cli import host

# isort: split
from autokd.cli.app import app, json_alone, say

__all__ = ["app", "host", "main", "results", "search"]


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from autokd.version import __version__

        sys.stdout.write(__version__ + "\n")
        raise typer.Exit()


def main() -> None:
    """Entry point: what a user did wrong ends with one message and exit code 2; Ctrl-C with 130."""
    from autokd.errors import AutokdError, UserError

    try:
        with json_alone():
            app(standalone_mode=True)
    except UserError as error:
        say(f"error: {error}")
        sys.exit(UserError.exit_code)
    except AutokdError as error:
        say(f"error: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        say("Interrupted.")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
