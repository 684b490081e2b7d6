"""Commands that make trials: init, search, resume, retime, finish."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autokd.cli.app import AsJson, Overrides, Storage, StudyName, app, give, say, watching

if TYPE_CHECKING:
    from autokd.study.opened import OpenStudy


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("study.yaml"),
    data: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Your data: a folder of pictures, one folder a class; a .npz or .csv file."),
    ] = None,
) -> None:
    """Write a commented study file that runs unedited: for your data, or for handwritten digits."""
    from autokd.config.template import look_at, study_of, study_template
    from autokd.errors import StorageError, UserError
    from autokd.files import write_atomic

    if path.exists():
        raise UserError("`autokd init` must not overwrite a file", str(path), "Name another, or remove it.")
    text = study_template()
    if data is not None:
        seen = look_at(data, Path(".autokd").absolute() / "data")
        text = study_of(seen)
        for line in seen.words:
            say(line)
    try:
        write_atomic(path, text)
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
    from autokd.api import dry_run as preflight
    from autokd.cli import tables
    from autokd.config.load import from_yaml
    from autokd.config.plan import make_plan
    from autokd.study.search import search_plan
    from autokd.study.spent import Spent

    given = list(overrides or [])
    given += [f"runner={runner}"] if runner else []
    given += [f"storage.url={storage}"] if storage else []
    given += [f"search.from={json.dumps(from_)}"] if from_ else []
    plan = make_plan(from_yaml(file, given))
    with watching() as bar:
        if dry_run:
            found = preflight(plan, bar.tell)
        else:
            study, reason = search_plan(plan, bar, ray_address, Spent())
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
    from autokd.study.study import Study

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
    from autokd.study.retime import retime as retime_study
    from autokd.study.study import Study

    opened = Study.open(study, storage)
    with watching() as bar:
        made, reason = retime_study(opened, profile, name, front=front, requantize=not as_is, watcher=bar)
    _ended(made, reason, as_json)


def _ended(study: OpenStudy, reason: str, as_json: bool) -> None:
    from autokd.cli.front import give_front
    from autokd.study.against import sentence
    from autokd.study.provenance import only_retimes

    say(f"{'Re-timing' if only_retimes(study.ledger) else 'Search'} ended: {reason}.")
    found = study.front()
    give_front(study, found, as_json)
    if as_json or not found:
        return
    place = "" if study.ledger.url == "sqlite:///autokd.db" else f" --storage {study.ledger.url}"
    if told := sentence(study, found):
        say(told)
    say(f"Next: autokd export {study.name} -o student.onnx{place}")
    say(f"      autokd dashboard {study.name}{place}")


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
    from autokd.cli import tables
    from autokd.study.study import Study

    opened = Study.open(study, storage)
    with watching() as bar:
        number = opened.finish(trial, samples, bar.tell)
    facts = opened.trial(number)
    give(facts) if as_json else tables.trial(facts)
