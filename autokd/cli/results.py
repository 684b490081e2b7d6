"""Commands that read a study and take its students home: status, front, show, confirm, export, gc."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autokd.cli.app import AsJson, Classes, Profile, Storage, StudyName, app, give, say, watching


@app.command()
def status(study: StudyName, storage: Storage = None, as_json: AsJson = False) -> None:
    """Where a study stands: trials by outcome, what runs now, the hypervolume."""
    from autokd.cli import tables
    from autokd.study.study import Study

    facts = Study.open(study, storage).status()
    give(facts) if as_json else tables.status(facts)


@app.command()
def front(
    study: StudyName,
    profile: Profile = None,
    by_class: Classes = False,
    storage: Storage = None,
    as_json: AsJson = False,
) -> None:
    """The students that no other student beats on every objective."""
    from autokd.cli.front import give_front
    from autokd.study.study import Study

    opened = Study.open(study, storage)
    give_front(opened, opened.front(profile), as_json, profile, by_class)


@app.command()
def show(
    study: StudyName,
    number: Annotated[int, typer.Argument(help="Trial number.")],
    storage: Storage = None,
    as_json: AsJson = False,
) -> None:
    """Everything about one trial."""
    from autokd.cli import tables
    from autokd.cli.recalls import trial_recalls
    from autokd.study.study import Study

    facts = Study.open(study, storage).trial(number)
    give(facts) if as_json else tables.trial(facts, trial_recalls(facts))


@app.command()
def confirm(study: StudyName, by_class: Classes = False, storage: Storage = None, as_json: AsJson = False) -> None:
    """Read the test split, once, for the students of the front."""
    from autokd.cli.front import give_front
    from autokd.study.study import Study

    opened = Study.open(study, storage)
    with watching() as bar:
        found = opened.confirm(bar.tell)
    give_front(opened, found, as_json, by_class=by_class)


@app.command()
def export(
    study: StudyName,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write the ONNX file.")] = Path(
        "student.onnx"
    ),
    trial: Annotated[int | None, typer.Option(help="This trial's student.")] = None,
    max_latency_ms: Annotated[float | None, typer.Option(help="The most accurate student at most this slow.")] = None,
    min_accuracy: Annotated[float | None, typer.Option(help="The fastest student at least this accurate.")] = None,
    positive: Annotated[
        str | None,
        typer.Option(
            help="Of two classes the one that the receipt's decision thresholds find.", show_default="the rarer one"
        ),
    ] = None,
    profile: Profile = None,
    storage: Storage = None,
    as_json: AsJson = False,
) -> None:
    """Write a student's ONNX file and its receipt. Without a choice: the knee of the front."""
    from autokd.cli import tables
    from autokd.study.export import exported
    from autokd.study.study import Study

    opened = Study.open(study, storage)
    chosen = opened.best(max_latency_ms, min_accuracy, profile, trial)
    path = chosen.export(output, positive)
    if chosen.member.record.notes.get("trained_on") is None:
        say(f"Not trained on: autokd finish {study} --trial {chosen.number} --samples N may add accuracy.")
    if as_json:
        give({"file": str(path), **chosen.member.to_dict()})
    else:
        tables.exported(exported(opened, chosen.member, path))


@app.command()
def gc(study: StudyName, storage: Storage = None, as_json: AsJson = False) -> None:
    """Keep the front, the checkpoints of stopped trials and the ledger; drop every other file of the study."""
    from autokd.study.study import Study

    freed = Study.open(study, storage).gc()
    if as_json:
        give({"study": study, "freed_bytes": freed})
    else:
        say(f"Freed {freed / 1e6:.1f} MB; the front, stopped trials' checkpoints and the ledger are kept.")
