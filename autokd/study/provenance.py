"""Where a study's first students come from: another study's archive, and what of it was timed here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from autokd.errors import StudyError
from autokd.files import file_sha256
from autokd.storage.attributes import PROVENANCE_KEY
from autokd.storage.ledger import Ledger, record_of
from autokd.storage.results import Member
from autokd.study.opened import OpenStudy
from autokd.trial import Outcome, TrialRecord


@dataclass(frozen=True)
class Provenance:
    """What a study takes over from another one; kept in its ledger.

    Args:
        study: The study that trained the students, in the same ledger.
        trials: Its trials whose files are to be timed.
        gone: Trials measured there whose files are no longer kept.
        only: The new study times them and searches nothing.
        requantize: Choose the operators of int8 files anew.
    """

    study: str
    trials: tuple[int, ...]
    gone: tuple[int, ...] = ()
    only: bool = False
    requantize: bool = True

    @classmethod
    def of(cls, ledger: Ledger) -> Provenance | None:
        """The origin on record; ``None`` for a study that began from nothing, or that has not looked yet."""
        raw = ledger.attr(PROVENANCE_KEY)
        return None if raw is None else cls(**raw | {"trials": tuple(raw["trials"]), "gone": tuple(raw["gone"])})

    @classmethod
    def begin(cls, old: OpenStudy, front: bool = False, only: bool = False, requantize: bool = True) -> Provenance:
        """The origin of a study to be.

        Raises:
            StudyError: There is no file, or one was changed.
        """
        found, gone = archive(old, front)
        if not found:
            law = f"study {old.name} must have files of measured students"
            mend = "`autokd gc` or storage.max_gb dropped them." if gone else f"See `autokd status {old.name}`."
            raise StudyError(law, f"none, and {len(gone)} that are gone" if gone else "none", mend)
        return cls(old.name, found, gone, only, requantize)

    def again(self, old: OpenStudy, front: bool, requantize: bool) -> Provenance:
        """The same for an archive that may have grown, or been collected, since.

        Raises:
            StudyError: A file was changed.
        """
        found, gone = archive(old, front)
        return replace(self, trials=_union(self.trials, found), gone=_union(self.gone, gone), requantize=requantize)

    def save(self, ledger: Ledger) -> None:
        ledger.set_attr(PROVENANCE_KEY, asdict(self))

    def waiting(self, ledger: Ledger) -> list[int]:
        """The trials of the other study that are not timed yet."""
        done = _timed(ledger)
        return [number for number in self.trials if number not in done]

    def story(self, ledger: Ledger) -> str:
        """What became of the other study's students, in words."""
        timed = _timed(ledger)
        outcomes = [r.outcome for r in timed.values()]
        count = sum(o != Outcome.FAILED for o in outcomes)
        parts = [f"{count} student{'s' * (count != 1)} of {self.study} timed here"]
        if refused := outcomes.count(Outcome.INFEASIBLE):
            parts.append(f"{refused} of them outside a constraint")
        files = [(r.artifact_sha256, r.retimed["sha256"]) for r in timed.values() if r.retimed and r.artifact_sha256]
        if other := sum(now != then for now, then in files):
            parts.append(f"{other} with other int8 operators")
        if failed := outcomes.count(Outcome.FAILED):
            parts.append(f"{failed} could not be timed")
        if gone := len({*self.gone, *self.trials} - timed.keys()):
            parts.append(f"{gone} left out whose files are gone (`autokd gc`, storage.max_gb)")
        return ", ".join(parts)


def only_retimes(ledger: Ledger) -> bool:
    """Whether a study was made by ``autokd retime``: it has no search to go on with."""
    origin = Provenance.of(ledger)
    return origin is not None and origin.only


def received(ledger: Ledger) -> str:
    """What is there of the other study's students, in words; empty while some are not timed yet."""
    origin = Provenance.of(ledger)
    return "" if origin is None or origin.waiting(ledger) else origin.story(ledger)


def archive(old: OpenStudy, front: bool = False) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The trials of a study whose files can be timed, and those whose files are no longer kept.

    Args:
        old: The study.
        front: Only those of its front.

    Raises:
        StudyError: A file was changed since it was measured.
    """
    wanted = {m.number for m in old.front()} if front else None
    found, gone = [], []
    for trial in old.ledger.trials():
        record = record_of(trial)
        if record is None or not record.artifact_sha256 or record.outcome == Outcome.FAILED:
            continue
        if wanted is not None and trial.number not in wanted:
            continue
        file = _file(old, trial.number, record)
        if file is None:
            gone.append(trial.number)
        elif file_sha256(file) != record.artifact_sha256:
            law = f"the file of trial {trial.number} of {old.name} must be the measured one"
            mend = "Bring it back; or delete it: files that are gone are left out."
            raise StudyError(law, f"{file}, which was changed", mend)
        else:
            found.append(trial.number)
    return tuple(found), tuple(gone)


def student(old: OpenStudy, number: int) -> Member | None:
    """A student of another study, its ``artifact`` where its file lies now; ``None`` when that is gone."""
    record = record_of(old.ledger.trials()[number])
    file = _file(old, number, record) if record is not None else None
    return None if record is None or file is None else Member(number, record.params, {}, None, str(file), record)


def folder_of(old: OpenStudy, number: int) -> Path:
    """The folder of a trial."""
    return old.home / "trials" / f"{number:05d}"


def _file(old: OpenStudy, number: int, record: TrialRecord) -> Path | None:
    """Where a student's file lies, also when the study was moved with its ledger."""
    places = (Path(str(record.artifact)), folder_of(old, number) / "student.onnx")
    return next((place for place in places if place.is_file()), None)


def _timed(ledger: Ledger) -> dict[int, TrialRecord]:
    """What was put into the ledger, by the trial of the other study."""
    records = [record_of(t) for t in ledger.trials()]
    return {int(r.retimed["trial"]): r for r in records if r is not None and r.retimed}


def _union(*trials: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted({number for some in trials for number in some}))
