"""A study that begins with another's students: their files are timed on its own devices, nothing is trained.

``autokd retime`` makes a study of nothing else; a search with ``search: {from: STUDY}`` goes on from there.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from autokd.config.plan import Plan
from autokd.config.retarget import other_matter
from autokd.errors import StudyError
from autokd.hardware.profile import HardwareProfile
from autokd.storage.attributes import FACTS_KEY
from autokd.storage.folders import writable
from autokd.storage.ledger import Ledger
from autokd.study.opened import OpenStudy
from autokd.study.provenance import Provenance, folder_of, received, student
from autokd.study.watcher import Watcher
from autokd.trial import Outcome

if TYPE_CHECKING:
    from autokd.evaluation.parts import Parts

SAME_FACTS = {"data": "the data", "teacher": "the teacher"}


# ------------------------------------------------------------------------------------------------- what must agree


def check_source(plan: Plan, url: str) -> None:
    """Refuse a ``search.from`` whose students mean something else in ``plan``, before anything is written.

    Raises:
        StudyError: No such study; other data, teacher, space, training or seed; or it has no files.
    """

    if plan.config.search.from_ is None:
        return
    old = OpenStudy.open(plan.config.search.from_, url)
    if what := other_matter(old.plan, plan):
        law = f"a search from {old.name} must share its data, teacher, space, training and seed"
        raise StudyError(law, f"other values of {what}", "Take over the old ones, or search without it.")
    Provenance.begin(old)


def check_data(name: str, url: str, fingerprint: str) -> None:
    """Refuse data that are not those of the study ``name``.

    Raises:
        StudyError: Their fingerprints differ, or the study was never prepared.
    """
    _check_facts(name, Ledger.open(url, name).attr(FACTS_KEY), {"data": {"fingerprint": fingerprint}})


def _check_facts(name: str, before: Any, now: Any) -> None:
    if not before:
        raise StudyError(f"study {name} must have been prepared", "it was not", f"Run `autokd resume {name}`.")
    for key, words in SAME_FACTS.items():
        if key in now and _fingerprint(now, key) != _fingerprint(before, key):
            mend = "Its students were scored with the old ones: bring them back, or search anew."
            raise StudyError(f"{words} must be those of study {name}", "others since then", mend)


def _fingerprint(facts: Mapping[str, Any], key: str) -> str | None:
    """Of the data, or of the teacher; ``None`` where there is none."""
    return (facts.get(key) or {}).get("fingerprint")


# --------------------------------------------------------------------------------------------------------- receive


def receive(study: OpenStudy, watcher: Watcher) -> str:
    """Time what is not timed yet, and put it into the study's ledger; says what is there now.

    The study must be prepared, and driven by the caller.

    Raises:
        StudyError: The other study is gone, has other data or another teacher, or a file was changed.
    """
    if done := received(study.ledger):
        return done
    origin = Provenance.of(study.ledger)
    old = OpenStudy.open(origin.study if origin else str(study.plan.config.search.from_), study.ledger.url)
    _check_facts(old.name, old.ledger.attr(FACTS_KEY), study.ledger.attr(FACTS_KEY))
    if origin is None:
        origin = Provenance.begin(old)
        origin.save(study.ledger)
    _time_all(study, old, origin, watcher)
    return origin.story(study.ledger)


def _time_all(study: OpenStudy, old: OpenStudy, origin: Provenance, watcher: Watcher) -> None:
    from autokd.evaluation.parts import Parts
    from autokd.evaluation.retime import link_stages
    from autokd.runners.threads import torch_threads
    from autokd.storage.optuna_private import first_generation
    from autokd.storage.stage_store import StageStore
    from autokd.strategies.sampling import make_sampler

    with writable(study.home):
        link_stages(StageStore(old.home / "stages"), StageStore(study.home / "stages"), _shared(old, study, origin))
    # for a genetic sampler what is taken over is its first generation
    todo, attrs, failures = origin.waiting(study.ledger), first_generation(make_sampler(study.plan, 0)), 0
    parts = Parts.open(study.home)
    try:
        with torch_threads(study.plan.config.resources.cpus_per_trial):
            for place, number in enumerate(todo):
                watcher.tell(f"re-timing students of {old.name}, {place} of {len(todo)}", place / len(todo))
                failed = _time_one(study, old, number, origin, parts, attrs, watcher)
                failures = failures + 1 if failed else 0
                if failures >= study.plan.config.budget.failures_in_a_row:
                    law = f"re-timing must not fail {failures} times in a row"
                    raise StudyError(law, failed, f"See error.txt in the last of {study.home / 'trials'}.")
    finally:
        parts.close()


def _time_one(
    study: OpenStudy,
    old: OpenStudy,
    number: int,
    origin: Provenance,
    parts: Parts,
    attrs: Mapping[str, Any],
    watcher: Watcher,
) -> str:
    """Time one student and put it into the ledger; what went wrong, or nothing."""
    from autokd.evaluation.retime import Source
    from autokd.evaluation.retime import retime as retime_one
    from autokd.evaluation.trial_dir import TrialDir

    member = student(old, number)
    if member is None:  # collected since the list was made
        return ""
    folder = folder_of(study, len(study.ledger.trials()))
    shutil.rmtree(folder, ignore_errors=True)  # half of one that was interrupted
    with writable(study.home):
        source = Source(old.name, member, folder_of(old, number))
        record = retime_one(source, parts, TrialDir(folder, parts.store), origin.requantize)
    number = study.ledger.add(record, study.plan, attrs)
    watcher.trial(number, record)
    study.keep_within()
    if record.outcome != Outcome.FAILED:
        return ""
    watcher.tell(f"warning: trial {number} of {old.name} could not be timed: {record.cause} ({record.detail})", None)
    return f"{record.cause} ({record.detail})"


def _shared(old: OpenStudy, study: OpenStudy, origin: Provenance) -> tuple[str, ...]:
    """The stages whose results mean the same in both studies: an int8 file was chosen by one device's clock."""
    from autokd.evaluation.retime import TIMED, UNTIMED

    same = not origin.only and _clock(old.plan) == _clock(study.plan)
    return tuple(s.value for s in (UNTIMED + TIMED if same else UNTIMED))


def _clock(plan: Plan) -> HardwareProfile:
    """The profile by which int8 operators are chosen."""
    from autokd.evaluation.stages.quantize import clock_of

    return clock_of(plan)
