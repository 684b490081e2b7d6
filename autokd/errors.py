"""Every error autokd raises on purpose.

::

    AutokdError
    ├── UserError              what a person can mend: states the law, the value, the mend; exit code 2
    │   ├── ConfigError        study file, --set, space or profile YAML; carries file and line
    │   ├── DataError          missing folder, empty class, corrupt image
    │   ├── TeacherError       weights or ONNX file that cannot serve as a teacher
    │   ├── HardwareError      the host is not the profile; a provider is missing
    │   ├── StorageError       ledger unreachable, disk full or read-only
    │   └── StudyError         unknown study, another configuration, a second live driver
    └── TrialError             one candidate's end; goes to the ledger, the study goes on
        ├── Infeasible         refused by a constraint: not a failure
        ├── Paused             its training rests at a checkpoint share of successive halving: not a failure
        └── StageFailure       a stage that did not finish, with its cause
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autokd.trial import Violation


class AutokdError(Exception):
    """Base of every error raised on purpose."""


class UserError(AutokdError):
    """What a person can mend.

    Args:
        law: What must hold, in one sentence.
        value: What was found instead.
        mend: What to do about it.
    """

    exit_code = 2

    def __init__(self, law: str, value: object = None, mend: str | None = None) -> None:
        self.law, self.value, self.mend = law, value, mend
        super().__init__(str(self))

    def __str__(self) -> str:
        parts = [self.law.rstrip(".")]
        if self.value is not None:
            parts.append(f"but got {self.value}")
        text = ", ".join(parts)
        text += "" if text.endswith("?") else "."
        return f"{text} {self.mend}" if self.mend else text

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.law, self.value, self.mend)


class ConfigError(UserError):
    """Something a person wrote in YAML or with --set is not allowed."""

    def __init__(
        self,
        law: str,
        value: object = None,
        mend: str | None = None,
        file: str | None = None,
        line: int | None = None,
    ) -> None:
        self.file, self.line = file, line
        super().__init__(law, value, mend)

    def __str__(self) -> str:
        place = "" if self.file is None else f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        return place + super().__str__()

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.law, self.value, self.mend, self.file, self.line)


class DataError(UserError):
    """The data cannot be used as they are."""


class TeacherError(UserError):
    """The teacher cannot serve."""


class HardwareError(UserError):
    """This host cannot stand for the profile."""


class StorageError(UserError):
    """The ledger or the disk refuses."""


class StudyError(UserError):
    """The study is not there, not the same, or in use."""


class TrialError(AutokdError):
    """One candidate's end; the study goes on."""


class Infeasible(TrialError):
    """The candidate cannot meet a constraint; nothing more is spent on it."""

    def __init__(self, violations: Iterable[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(str(v) for v in self.violations))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.violations,)


class Paused(TrialError):
    """The training has come to a checkpoint share, and rests; its checkpoint is kept.

    Args:
        share: Share of the training that is done, in (0, 1).
        cpu_s: CPU seconds that nobody was charged for yet.
    """

    def __init__(self, share: float, cpu_s: float) -> None:
        self.share, self.cpu_s = share, cpu_s
        super().__init__(f"{share:.0%} of the training is done")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.share, self.cpu_s)


class StageFailure(TrialError):
    """A stage did not finish.

    Args:
        stage: Name of the stage, e.g. ``"distill"``.
        cause: One of ``diverged``, ``out_of_memory``, ``verify_mismatch``, ``timeout``, ``lost_worker``, ``error``.
        detail: One line for people.
        traceback: The worker's traceback, if there is one.
    """

    def __init__(self, stage: str, cause: str, detail: str = "", traceback: str = "") -> None:
        self.stage, self.cause, self.detail, self.traceback = stage, cause, detail, traceback
        super().__init__(f"{stage}: {cause}" + (f" ({detail})" if detail else ""))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.stage, self.cause, self.detail, self.traceback)


def first_line(error: BaseException | str, most: int = 300) -> str:
    """What an error says, on one line of at most ``most`` characters; its type's name where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0][:most] if lines else "" if isinstance(error, str) else type(error).__name__


def named_line(error: BaseException) -> str:
    """:func:`first_line` behind the type's name: ``ValueError: it holds no graph``."""
    said, name = first_line(error), type(error).__name__
    return name if said == name else f"{name}: {said}"


def nearest(name: str, known: Iterable[str]) -> str:
    """A mend that names the closest known spelling, or lists what there is."""
    import difflib  # asked where something is wrong, not at every start

    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {close[0]!r}?"
    return "Known: " + ", ".join(names) + "." if names else "None is known."
