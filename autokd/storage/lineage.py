"""Who descends from whom: the rungs of a study's ladders, their ancestors, and what was cut on the way (stdlib only)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autokd.trial import Cut, Rung, TrialRecord

if TYPE_CHECKING:
    import pandas as pd

ROOT, TRAIN, NARROW, REFINE, FINISH = "root", "train", "narrow", "refine", "finish"
"""What was done for a trial: trained from nothing as a ladder's root; a root trained to the end; made smaller and tuned; any other
rung trained on; trained on by ``autokd finish``."""
INHERITS = (TRAIN, NARROW)
"""Kinds of :class:`autokd.trial.Rung` whose shape and weights follow from a parent: none of them is a free choice."""
RUNGS = (ROOT, *INHERITS)
_NUMBERED = re.compile(r"(?P<name>.+)_(?P<place>\d+)")


@dataclass(frozen=True)
class Step:
    """One trial of a lineage.

    Args:
        number: The trial.
        kind: Of its rung; ``"finish"`` for a child without a rung, empty for an ordinary trial that such a child descends from.
        parent: Trial that its weights come from; ``None`` where a lineage begins.
        cuts: What was cut for it, in order.
    """

    number: int
    kind: str
    parent: int | None = None
    cuts: tuple[Cut, ...] = ()


@dataclass(frozen=True)
class Worth:
    """What a root and all that descends from it cost and brought.

    Args:
        root: Trial number.
        rungs: Trials that descend from the root, itself included.
        gain: Hypervolume that they added when they came.
        cpu_s: CPU seconds that they took.
    """

    root: int
    rungs: int
    gain: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Hypervolume a CPU second; what the outer search learns from."""
        return self.gain / max(1e-9, self.cpu_s)


class Lineage:
    """The trials of a study that descend from others, and those that they descend from.

    Args:
        steps: One a trial.
    """

    def __init__(self, steps: Iterable[Step]) -> None:
        self.steps = {s.number: s for s in steps}
        self._children: dict[int, list[int]] = {}
        for s in self.steps.values():
            if s.parent is not None:
                self._children.setdefault(s.parent, []).append(s.number)

    @classmethod
    def of_records(cls, records: Mapping[int, TrialRecord]) -> Lineage:
        """Of a ledger's records by trial number."""
        return cls(_with_parents(_step_of(n, r) for n, r in records.items() if r.rung or r.parent is not None))

    @classmethod
    def of_frame(cls, frame: pd.DataFrame) -> Lineage:
        """Of a :attr:`autokd.storage.reader.TrialReader.frame`."""
        if not {"parent", "rung", "cuts"} <= set(frame.columns):
            return cls(())
        rows = frame[frame["rung"].notna() | frame["parent"].notna()]
        found = []
        for number, rung, parent, cuts in zip(rows["number"], rows["rung"], rows["parent"], rows["cuts"], strict=True):
            kind = rung if isinstance(rung, str) else FINISH
            done = cuts if isinstance(cuts, tuple) else ()
            found.append(
                Step(int(number), kind, int(parent) if parent == parent and parent is not None else None, done)
            )
        return cls(_with_parents(found))

    def __contains__(self, number: object) -> bool:
        return number in self.steps

    def __bool__(self) -> bool:
        return bool(self.steps)

    @property
    def has_ladders(self) -> bool:
        """Whether there is a rung, not only what ``autokd finish`` added."""
        return any(s.kind in RUNGS for s in self.steps.values())

    def path(self, number: int) -> list[Step]:
        """From the root down to a trial, both included."""
        found: list[Step] = []
        step = self.steps.get(number)
        while step is not None and step not in found:  # a foreign ledger may hold a circle
            found.append(step)
            step = self.steps.get(step.parent) if step.parent is not None else None
        return found[::-1]

    def root(self, number: int) -> int:
        """The trial that a lineage begins with; the trial itself where it has none."""
        path = self.path(number)
        return path[0].number if path else number

    def children(self, number: int) -> list[int]:
        """Trials that took a trial's weights, in order."""
        return self._children.get(number, [])

    def roots(self) -> list[int]:
        """Where ladders begin, in order."""
        return [n for n, s in self.steps.items() if s.kind == ROOT]

    def kind(self, number: int) -> str:
        """See :class:`Step`; empty for an ordinary trial."""
        step = self.steps.get(number)
        return step.kind if step else ""

    def families(self) -> dict[int, list[int]]:
        """Every root with all that descends from it, itself included, in order."""
        found: dict[int, list[int]] = {root: [] for root in self.roots()}
        for number in self.steps:
            if (root := self.root(number)) in found:
                found[root].append(number)
        return found

    def word(self, number: int) -> str:
        """``root``, ``train``, ``narrow``, ``refine`` or ``finish``; empty for an ordinary trial."""
        step = self.steps.get(number)
        return self._word(step.kind, step.parent) if step else ""

    def _word(self, kind: str, parent: int | None) -> str:
        above = self.steps.get(parent) if parent is not None else None
        return rung_word(kind, above.kind if above else None)

    def named(self, rung: Rung) -> str:
        """What a rung does that has not ended yet: ``narrow of 8``."""
        return _of(self._word(rung.kind, rung.parent), rung.parent)

    def origin(self, number: int) -> str:
        """``narrow of 8, root 0``, ``train of root 0``, ``root``; empty for an ordinary trial."""
        step, word = self.steps.get(number), self.word(number)
        if step is None or step.parent is None:
            return word
        first = self.root(number)
        if first == step.parent:
            return f"{word} of {'root ' if self.steps[first].kind == ROOT else ''}{first}"
        return f"{_of(word, step.parent)}, root {first}"

    def history(self, number: int) -> list[Cut]:
        """Every cut since the root."""
        return [cut for step in self.path(number) for cut in step.cuts]

    def left(self, number: int) -> dict[str, float]:
        """See :func:`channels_left`, of every cut since the root."""
        return channels_left(self.history(number))

    def to_dict(self, number: int) -> dict[str, Any] | None:
        """Plain values, for JSON; ``None`` for a trial that neither descends from another nor is a rung.

        ``rung``; ``parent``; ``root``; ``path``, the ancestors from the root down; ``cuts`` of the last step, by name;
        ``history``, all cuts since the root; ``channels_left``, about, a share by prune group.
        """
        step = self.steps.get(number)
        if step is None or not step.kind:
            return None
        return {
            "rung": self.word(number),
            "parent": step.parent,
            "root": self.root(number),
            "path": [s.number for s in self.path(number)[:-1]],
            "cuts": [cut.name for cut in step.cuts],
            "history": [cut.name for cut in self.history(number)],
            "channels_left": self.left(number),
        }

    def worth(self, gain: Callable[[int], float], cpu_s: Callable[[int], float]) -> list[Worth]:
        """What every ladder brought, by root in order.

        Args:
            gain: Hypervolume that a trial added when it came.
            cpu_s: CPU seconds of a trial.
        """
        return [
            Worth(root, len(family), sum(map(gain, family)), sum(map(cpu_s, family)))
            for root, family in self.families().items()
        ]


def rung_word(kind: str, above: str | None) -> str:
    """What a rung is called: training on with a root is ``train``, with anything else ``refine``.

    Args:
        kind: Of the rung.
        above: Kind of its parent's rung, if it is known.
    """
    return REFINE if kind == TRAIN and above in INHERITS else kind


def rung_text(rung: Rung, above: str | None) -> str:
    """``narrow of 8``; the parent's kind as in :func:`rung_word`."""
    return _of(rung_word(rung.kind, above), rung.parent)


def channels_left(history: Iterable[Cut]) -> dict[str, float]:
    """Share of its channels that each prune group kept, by the ratios of its cuts; whole groups are left out.

    About: a cut rounds widths to multiples of four (:func:`autokd.compression.pruning.prune`).
    """
    left: dict[str, float] = {}
    others = 1.0
    for cut in history:
        if cut.kind != "channels":
            continue
        group, keep = cut.what, float(cut.now or 0.0)
        if group == "all":
            left = {name: share * keep for name, share in left.items()}
            others *= keep
        else:
            left[group] = left.get(group, others) * keep
    named = dict(sorted(left.items(), key=lambda item: (item[0].isdigit(), item[0])))
    return named if others == 1.0 else named | {"others" if named else "all": others}


def left_words(left: Mapping[str, float]) -> str:
    """``stem=25% 1=50%``: prune groups with the share of their channels that is left."""
    return " ".join(f"{group}={share:.0%}" for group, share in left.items())


def cut_words(left: Mapping[str, float]) -> str:
    """What the cuts since the root left: ``channels left, about: stem=25% 1=50%``; empty without a channel cut.

    Fewer blocks or pixels are not said: they stand in the trial's own parameters.
    """
    return f"channels left, about: {left_words(left)}" if left else ""


def cut_text(cut: Cut) -> str:
    """A cut for people: ``2: -50% channels``, ``resolution 14``."""
    return f"{cut.what}: -{1.0 - float(cut.now or 0.0):.0%} channels" if cut.kind == "channels" else cut.name


def grouped(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of numbered parts as one: ``width_1`` to ``width_3`` become ``width: "32-64-128"``, equal ones one value."""
    parts: dict[str, list[str]] = {}
    for name in params:
        found = _NUMBERED.fullmatch(name)
        parts.setdefault(found["name"] if found else name, []).append(name)
    shown: dict[str, Any] = {}
    for name, members in parts.items():
        if len(members) == 1 or name in members:
            shown |= {m: params[m] for m in members}
            continue
        values = [params[m] for m in members]
        texts = [f"{v:g}" if isinstance(v, float) else str(v) for v in values]
        shown[name] = values[0] if len(set(texts)) == 1 else "-".join(texts)
    return shown


def _of(word: str, parent: int | None) -> str:
    return word if parent is None else f"{word} of {parent}"


def _step_of(number: int, record: TrialRecord) -> Step:
    kind = record.rung.kind if record.rung else FINISH
    parent = record.parent if record.parent is not None else record.rung.parent if record.rung else None
    return Step(number, kind, parent, record.cuts)


def _with_parents(steps: Iterable[Step]) -> list[Step]:
    """The steps, and ordinary trials that only ``autokd finish`` makes parents of."""
    found = {s.number: s for s in steps}
    for step in list(found.values()):
        if step.parent is not None and step.parent not in found:
            found[step.parent] = Step(step.parent, "")
    return [found[n] for n in sorted(found)]
