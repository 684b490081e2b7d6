"""A student beside what a person has: how much faster and smaller than the teacher, at what loss, and what finding it has cost."""

from __future__ import annotations

from autokd.config.objectives import metric_of, title
from autokd.storage.attributes import FACTS_KEY
from autokd.storage.results import Member, choose, compared_with
from autokd.study.opened import OpenStudy
from autokd.study.spent import spent_before
from autokd.trial import Measurement

WORDS = {
    "latency_ms": ("faster", "slower"),
    "size_bytes": ("smaller", "larger"),
    "params": ("fewer parameters", "more parameters"),
}
"""What a cost is called that is below and above the other's."""


def against(value: float, other: float | None, metric: str) -> str:
    """``accuracy -5.9 points``, ``18 times faster``; empty where there is nothing to compare with."""
    if other is None:
        return ""
    known = metric_of(metric)
    name = title(metric)
    if known.unit == "ratio":
        return f"{name} {100 * (value - other):+.1f} points"
    if known.log_scale and value > 0 and other > 0:
        less, more = WORDS.get(metric, (f"less {name}", f"more {name}"))
        return f"{other / value:.3g} times {less}" if value <= other else f"{value / other:.3g} times {more}"
    return f"{name} {value - other:+.3g} {known.unit}".rstrip()


def sentence(study: OpenStudy, found: list[Member]) -> str:
    """The knee of a front against the teacher, or without one against the dearest root; empty without either.

    ``Trial 7, the knee: 18 times faster and 12 times smaller than the teacher, accuracy -0.6 points; found in 84 CPU seconds.``
    """
    kind, stated = compared_with(study.ledger.attr(FACTS_KEY) or {})
    if not stated or not found:
        return ""
    knee = choose(found, study.plan.objectives)
    other = {m.name: m.value for m in (Measurement(**given) for given in stated["measurements"])}
    measured = {m.name: m for m in knee.record.measurements}
    names = dict.fromkeys([*(o.name for o in study.plan.objectives), "size_bytes"])
    told = [
        (measured[n].metric, against(measured[n].value, other.get(n), measured[n].metric))
        for n in names
        if n in measured
    ]
    costs = [text for metric, text in told if text and metric in WORDS]
    rest = [text for metric, text in told if text and metric not in WORDS]
    if not costs:
        return ""
    who = "the teacher" if kind == "teacher" else f"the {stated['name']}"
    loss = f", {', '.join(rest)}" if rest else ""
    spent = spent_before(study)
    return f"Trial {knee.number}, the knee: {' and '.join(costs)} than {who}{loss}; found in {spent:.0f} CPU seconds in all."
