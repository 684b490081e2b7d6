"""The terminal commands: parse, call Study, print. With --json standard output carries only the JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
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
def _json_alone() -> Iterator[None]:
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
    from autokd.progress import Bar

    bar = Bar()
    try:
        yield bar
    except KeyboardInterrupt:
        bar.end()
        say("Interrupted. What is finished is kept: `autokd resume STUDY`, or the same command again, goes on.")
        raise typer.Exit(130) from None
    finally:
        bar.end()


@app.command()
def init(path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("study.yaml")) -> None:
    """Write a commented study file that runs unedited."""
    from autokd.errors import StorageError, UserError
    from autokd.files import write_atomic

    if path.exists():
        raise UserError("`autokd init` must not overwrite a file", str(path), "Name another, or remove it.")
    try:
        write_atomic(path, (Path(__file__).parent / "config" / "study_template.yaml").read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(
            "the study file must have a place that can be written", f"{path}: {error.strerror}"
        ) from None
    say(f"Wrote {path}. Next: autokd search {path}")


@app.command()
def search(
    file: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.")],
    overrides: Overrides = None,
    runner: Annotated[
        str | None, typer.Option(help="ray, local (worker processes) or inline (for a debugger).")
    ] = None,
    ray_address: Annotated[str | None, typer.Option(help="Join a Ray cluster, e.g. auto or host:port.")] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="STUDY", help="Begin with the files of this study, timed anew, not trained."),
    ] = None,
    storage: Storage = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only a pre-flight: sizes, latencies, feasibility, time.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Search: train the teacher, evaluate candidates, keep the front."""
    from autokd import tables
    from autokd.api import dry_run as preflight
    from autokd.api import search_plan
    from autokd.config.load import from_yaml
    from autokd.config.plan import make_plan

    given = list(overrides or [])
    given += [f"runner={runner}"] if runner else []
    given += [f"storage.url={storage}"] if storage else []
    given += [f"search.from={json.dumps(from_)}"] if from_ else []
    plan = make_plan(from_yaml(file, given))
    with watching() as bar:
        if dry_run:
            found = preflight(plan, bar.tell)
        else:
            study, reason = search_plan(plan, watcher=bar, ray_address=ray_address)
    if dry_run:
        give(found.to_dict()) if as_json else tables.preflight(plan, found)
        return
    _ended(study, reason, as_json)


@app.command()
def resume(
    study: StudyName,
    overrides: Overrides = None,
    ray_address: Annotated[str | None, typer.Option(help="Join a Ray cluster.")] = None,
    storage: Storage = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a study that was interrupted, or whose budget was raised with --set budget.*=..."""
    from autokd.study import Study

    opened = Study.open(study, storage)
    opened.update(list(overrides or []))
    with watching() as bar:
        reason = opened.search(bar, ray_address)
    _ended(opened, reason, as_json)


@app.command()
def retime(
    study: StudyName,
    profile: Annotated[
        list[str],
        typer.Option(help="New hardware profile, by name or YAML file; OLD=NEW says what it stands for; repeatable."),
    ],
    name: Annotated[str | None, typer.Option(help="Of the new study.", show_default="STUDY-PROFILE")] = None,
    front: Annotated[bool, typer.Option("--front/--all", help="Only the old front, or every file kept.")] = False,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="Keep int8 files; else their operators are chosen anew by the new clock.")
    ] = False,
    storage: Storage = None,
    as_json: AsJson = False,
) -> None:
    """A new study of an old one's students on other hardware: their files are timed, nothing is trained."""
    from autokd.study import Study
    from autokd.warm_start import retime as retime_study

    opened = Study.open(study, storage)
    with watching() as bar:
        made, reason = retime_study(opened, profile, name, front=front, requantize=not as_is, watcher=bar)
    _ended(made, reason, as_json)


def _ended(study: Any, reason: str, as_json: bool) -> None:
    from autokd import tables
    from autokd.origin import only_retimes

    say(f"{'Re-timing' if only_retimes(study.ledger) else 'Search'} ended: {reason}.")
    if as_json:
        give(tables.front_json(study, study.front()))
        return
    tables.front(study, study.front())
    place = "" if study.ledger.url == "sqlite:///autokd.db" else f" --storage {study.ledger.url}"
    say(f"Next: autokd export {study.name} -o student.onnx{place}")
    say(f"      autokd dashboard {study.name}{place}")


@app.command()
def status(study: StudyName, storage: Storage = None, as_json: AsJson = False) -> None:
    """Where a study stands: trials by outcome, what runs now, the hypervolume."""
    from autokd import tables
    from autokd.study import Study

    facts = Study.open(study, storage).status()
    give(facts) if as_json else tables.status(facts)


@app.command()
def front(study: StudyName, profile: Profile = None, storage: Storage = None, as_json: AsJson = False) -> None:
    """The students that no other student beats on every objective."""
    from autokd import tables
    from autokd.study import Study

    opened = Study.open(study, storage)
    found = opened.front(profile)
    give(tables.front_json(opened, found, profile)) if as_json else tables.front(opened, found, profile)


@app.command()
def show(
    study: StudyName,
    number: Annotated[int, typer.Argument(help="Trial number.")],
    storage: Storage = None,
    as_json: AsJson = False,
) -> None:
    """Everything about one trial."""
    from autokd import tables
    from autokd.study import Study

    facts = Study.open(study, storage).trial(number)
    give(facts) if as_json else tables.trial(facts)


@app.command()
def confirm(study: StudyName, storage: Storage = None, as_json: AsJson = False) -> None:
    """Read the test split, once, for the students of the front."""
    from autokd import tables
    from autokd.study import Study

    opened = Study.open(study, storage)
    with watching() as bar:
        found = opened.confirm(bar.tell)
    give(tables.front_json(opened, found)) if as_json else tables.front(opened, found)


@app.command()
def export(
    study: StudyName,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write the ONNX file.")] = Path(
        "student.onnx"
    ),
    trial: Annotated[int | None, typer.Option(help="This trial's student.")] = None,
    max_latency_ms: Annotated[float | None, typer.Option(help="The most accurate student at most this slow.")] = None,
    min_accuracy: Annotated[float | None, typer.Option(help="The fastest student at least this accurate.")] = None,
    profile: Profile = None,
    storage: Storage = None,
    as_json: AsJson = False,
) -> None:
    """Write a student's ONNX file and its receipt. Without a choice: the knee of the front."""
    from autokd import tables
    from autokd.study import Study

    opened = Study.open(study, storage)
    chosen = opened.best(max_latency_ms, min_accuracy, profile, trial)
    path = chosen.export(output)
    if chosen.member.record.notes.get("trained_on") is None:
        say(f"Not trained on: autokd finish {study} --trial {chosen.number} --samples N may add accuracy.")
    if as_json:
        give({"file": str(path), **chosen.member.to_dict()})
    else:
        tables.exported(opened, chosen.member, path)


@app.command()
def finish(
    study: StudyName,
    trial: Annotated[int, typer.Option(help="The student to train on, or a trial that was stopped early.")],
    samples: Annotated[
        int | None, typer.Option(min=1, help="Training samples to add; a stopped trial goes on to its end without.")
    ] = None,
    storage: Storage = None,
    as_json: AsJson = False,
) -> None:
    """Train a chosen student on with the teacher, or go on with a stopped one; the result is a trial, measured and confirmed."""
    from autokd import tables
    from autokd.study import Study

    opened = Study.open(study, storage)
    with watching() as bar:
        number = opened.finish(trial, samples, bar.tell)
    facts = opened.trial(number)
    give(facts) if as_json else tables.trial(facts)


@app.command()
def gc(study: StudyName, storage: Storage = None, as_json: AsJson = False) -> None:
    """Keep the front, the checkpoints of stopped trials and the ledger; drop every other file of the study."""
    from autokd.study import Study

    freed = Study.open(study, storage).gc()
    if as_json:
        give({"study": study, "freed_bytes": freed})
    else:
        say(f"Freed {freed / 1e6:.1f} MB; the front, stopped trials' checkpoints and the ledger are kept.")


@app.command()
def measure(
    file: Annotated[Path, typer.Argument(help="An ONNX file.")],
    profile: Annotated[list[str], typer.Option(help="Hardware profile, by name or YAML file; repeatable.")],
    as_json: AsJson = False,
) -> None:
    """Time an ONNX file on this host as a hardware profile says."""
    from autokd import tables
    from autokd.api import measure_file
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
    from autokd import tables
    from autokd.api import verify_file

    found = verify_file(file, study, storage)
    give(found) if as_json else tables.verified(found)
    if not found["ok"]:
        raise typer.Exit(1)


@app.command("list")
def list_(
    kind: Annotated[
        str, typer.Argument(help="methods, samplers, spaces, profiles, families, teachers, data or studies.")
    ],
    storage: Storage = None,
    as_json: AsJson = False,
) -> None:
    """What can be named in a study file, and the studies of the ledger."""
    from autokd import tables
    from autokd.api import listing

    rows = listing(kind, storage)
    give(rows) if as_json else tables.listing(rows)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check this machine: versions, devices, profiles that it can stand for, a timed A/A run."""
    from autokd import tables
    from autokd.api import doctor as examine

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
    from autokd.api import serve_dashboard

    raise typer.Exit(serve_dashboard(study, storage, port, host, open_))


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from autokd import __version__

        sys.stdout.write(__version__ + "\n")
        raise typer.Exit()


def main() -> None:
    """Entry point: what a user did wrong ends with one message and exit code 2; Ctrl-C with 130."""
    from autokd.errors import AutokdError, UserError

    try:
        with _json_alone():
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


if __name__ == "__main__":
    main()
