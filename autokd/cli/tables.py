"""What the commands print for people: tables with units, devices and spread, sized to the terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autokd.config.objectives import Objective, metric_of, relative_spread
from autokd.formatting import _span, common, number, summary
from autokd.storage.attributes import FACTS_KEY
from autokd.storage.ledger import record_of
from autokd.storage.lineage import FINISH, NARROW, ROOT, RUNGS, Lineage, cut_text, grouped, left_words
from autokd.storage.results import Member, objectives_on
from autokd.trial import CONTINUES, RETIMED, Cut, rested_at

if TYPE_CHECKING:
    from autokd.config.plan import Plan
    from autokd.evaluation.screening.preflight import Preflight
    from autokd.study.study import Study


def _out() -> Console:
    # a pipe has no width: give tables room instead of cutting them at 80 columns
    return Console(width=None if sys.stdout.isatty() else 160)


def _told_value(m: Mapping[str, Any]) -> str:
    """A measurement out of plain values."""
    return number(m["value"], m["unit"], m["spread"], relative=relative_spread(m["metric"]))


def _cell(member: Member, objective: Objective) -> str:
    for m in member.record.measurements:
        if m.name == objective.name:
            return number(m.value, m.unit, m.spread, relative=relative_spread(m.metric))
    return "-"


def front_json(study: Study, found: Sequence[Member], profile: str | None = None) -> dict[str, Any]:
    """The documented JSON of a front; members that are rungs of a ladder, or descend from another trial, have a ``lineage``."""
    objectives = objectives_on(study.plan, profile)
    lineage = study.lineage()

    def descent(number: int) -> dict[str, Any]:
        told = lineage.to_dict(number)
        return {"lineage": told} if told else {}

    return {
        "study": study.name,
        "objectives": [str(o) for o in objectives],
        "hypervolume": study.hypervolume() if objectives == study.plan.objectives else None,
        "reference_point": study.reference_point,
        "members": [m.to_dict() | descent(m.number) for m in found],
    }


def front(study: Study, found: Sequence[Member], profile: str | None = None) -> None:
    """The front, cheapest first, with the teacher for comparison."""
    objectives = objectives_on(study.plan, profile)
    table = Table(title=Text(f"Pareto front of {study.name}"), title_justify="left")
    table.add_column("trial", justify="right")
    for o in objectives:
        table.add_column(
            Text(f"{o.name}\n({'higher' if o.direction == 'maximize' else 'lower'} is better)"), justify="right"
        )
    named = {o.metric for o in objectives}
    extra = [m for m in ("size_bytes", "params") if m not in named]
    for name in extra:
        table.add_column(name, justify="right")
    confirmed = any(m.confirmed for m in found)
    if confirmed:
        table.add_column("accuracy\non test", justify="right")
        again = next((o.name for o in objectives if o.metric == "latency_ms"), None)
        if again:
            table.add_column("latency\nagain", justify="right")
    lineage = study.lineage()
    descends = any(m.number in lineage for m in found)
    if descends:
        table.add_column("lineage")
    table.add_column("student", overflow="fold")
    told, roots = _told(study, found, lineage)
    shared = common([*told.values(), *roots.values()])
    for m in found:
        cells = [str(m.number), *(_cell(m, o) for o in objectives)]
        cells += [number(m.record.value(n), metric_of(n).unit) for n in extra]
        if confirmed:
            test = m.confirmed or {}
            cells.append(number(test.get("accuracy"), "ratio", test.get("accuracy_se")))
            if again:
                cells.append(number(test.get(again), "ms"))
        if descends:
            cells.append(lineage.origin(m.number))
        above = roots.get(lineage.root(m.number), {})
        own = summary(
            {k: v for k, v in told[m.number].items() if k not in shared and (v != above.get(k) or k == "bits")}
        )
        table.add_row(*cells, Text("; ".join(filter(None, (own, lineage.cut_words(m.number))))))
    teacher = (study.ledger.attr(FACTS_KEY) or {}).get("teacher")
    if teacher:
        values = {
            (f"{t['metric']}@{t['profile']}" if t["profile"] else t["metric"]): t for t in teacher["measurements"]
        }
        cells = ["teacher"]
        for name in [*(o.name for o in objectives), *extra]:
            t = values.get(name)
            cells.append(_told_value(t) if t else "-")
        table.add_section()
        blank = [""] * (len(table.columns) - len(cells) - 1)
        table.add_row(*cells, *blank, Text(teacher["name"]), style="dim")
    console = _out()
    console.print(table)
    if shared:
        console.print(f"All of them: {summary(shared)}.", markup=False, highlight=False)
    for first, params in roots.items():
        own = summary({k: v for k, v in params.items() if k not in shared and k != "bits"})
        console.print(f"Root {first}: {own or 'as all of them'}.", markup=False, highlight=False)
    if not found:
        console.print("No student was measured yet that meets every constraint.", markup=False)
    hv = study.hypervolume() if objectives == study.plan.objectives else None  # the reference point is of those
    where = "validation split"
    if hv is not None:
        point = ", ".join(
            f"{o.name} {v:.4g}" for o, v in zip(study.plan.objectives, study.reference_point or [], strict=False)
        )
        text = f"Quality on the {where}. Hypervolume {hv:.4f} over ({point}), costs in natural logarithm."
        console.print(text, markup=False, highlight=False)
    if confirmed and again and (text := timed_again(found, again)):
        console.print(text, markup=False, highlight=False)
    if found and not confirmed:
        console.print(f"`autokd confirm {study.name}` reads the test split.", markup=False, highlight=False)


def _told(
    study: Study, found: Sequence[Member], lineage: Lineage
) -> tuple[dict[int, Mapping[str, Any]], dict[int, Mapping[str, Any]]]:
    """Parameters of students by trial, and of the roots of those that a ladder led to."""
    if not any(lineage.kind(m.number) in RUNGS for m in found):
        return {m.number: m.params for m in found}, {}
    firsts = sorted({lineage.root(m.number) for m in found})
    trials = study.ledger.trials()
    records = {n: record_of(trials[n]) for n in firsts if n < len(trials)}
    roots: dict[int, Mapping[str, Any]] = {
        n: grouped(r.params) for n, r in records.items() if r is not None and lineage.kind(n) == ROOT
    }
    return {m.number: grouped(m.params) for m in found}, roots


def timed_again(found: Sequence[Member], latency: str) -> str:
    """How far the second timings of the same files are from the first; empty where there are none."""
    pairs = [(m.values.get(latency), (m.confirmed or {}).get(latency)) for m in found]
    apart = [abs(second / first - 1) for first, second in pairs if first and second]
    if not apart:
        return ""
    return f"The same files timed again: {median(apart):.1%} apart in the median, {max(apart):.1%} at most."


def rows(pairs: Sequence[tuple[str, str]], title: str | None = None) -> None:
    """Two plain columns."""
    table = Table(show_header=False, box=None, title=title, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in pairs:
        table.add_row(Text(key), Text(value))
    _out().print(table)


def status(facts: Mapping[str, Any]) -> None:
    outcomes = ", ".join(f"{n} {o}" for o, n in facts["outcomes"].items() if n) or "none yet"
    pairs = [
        ("study", facts["study"]),
        ("state", str(facts["state"])),
        ("counted", f"{facts['counted']} of {facts['budget'].get('trials', 'unlimited')} trials that began training"),
        ("trials", outcomes),
        *([("re-timed", f"{facts['retimed']} students of another study")] if facts.get("retimed") else []),
        ("spent", f"{facts['cpu_s']:.0f} CPU s in trials, {facts['wall_s']:.0f} s of searching"),
        ("front", f"{facts['front']} student{'s' * (facts['front'] != 1)}"),
    ]
    if facts["hypervolume"] is not None:
        pairs.append(("hypervolume", f"{facts['hypervolume']:.4f}"))
        ahead, _, text = facts["expected_gain"]["text"].partition(": ")
        pairs.append((ahead, text))
    if facts["outcomes"].get("measured"):
        pairs.append(("free proxy", facts["proxy"]["text"]))
    pairs += [(f"ladder of root {w['root']}", ladder_words(w)) for w in facts.get("ladders", ())]
    for r in facts["running"]:
        share = f" {r['samples'] / r['of']:.0%}" if r.get("of") and r.get("samples") else ""
        rung = f"{r['rung']}, " if r.get("rung") else ""
        pairs.append((f"trial {r['number']}", f"{rung}{r.get('stage', 'starting')}{share}"))
    rows(pairs)


def ladder_words(worth: Mapping[str, Any]) -> str:
    """What a root and its descendants brought: ``12 rungs, +0.412 hypervolume in 38 CPU s (0.0108 a second)``."""
    rungs = f"{worth['rungs']} rung{'s' * (worth['rungs'] != 1)}"
    rate = f"{worth['gain_per_cpu_s']:.3g} a second"
    return f"{rungs}, {worth['gain']:+.3f} hypervolume in {worth['cpu_s']:.0f} CPU s ({rate})"


def trial(facts: Mapping[str, Any]) -> None:
    rows([("trial", str(facts["number"])), ("outcome", str(facts["outcome"])), *_reasons(facts)])
    rows([(k, str(v)) for k, v in facts["params"].items()], "parameters")
    rows([(_name(m), _told_value(m)) for m in facts["measurements"]], "measurements")
    if facts.get("confirmed"):
        rows([(k, f"{v:.4f}") for k, v in facts["confirmed"].items()], "on the test split")
    stages = [
        (s["stage"], "from the store" if s["cached"] else f"{s['duration_s']:.2f} s, {s['cpu_s']:.2f} CPU s")
        for s in facts["stages"]
    ]
    rows(stages, "stages")
    if facts.get("artifact"):
        rows([("file", facts["artifact"])])


def _name(m: Mapping[str, Any]) -> str:
    return f"{m['metric']}@{m['profile']}" if m["profile"] else str(m["metric"])


def _reasons(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = [("violated", f"{v['constraint']}, got {v['value']:.6g}") for v in facts["violations"]]
    if facts.get("cause"):
        found.append(("failed", f"in {facts['failed_stage']}: {facts['cause']} ({facts['detail']})"))
        found.append(("folder", str(facts["folder"])))
    if facts.get("duplicate_of") is not None:
        found.append(("same as", f"trial {facts['duplicate_of']}"))
    notes = facts.get("notes") or {}
    if facts.get("outcome") == "stopped" and (share := rested_at(notes)) is not None:
        after = f"after {share:.0%} of its training; `autokd finish` goes on with it"
        found.append(("stopped", after))
    if notes.get(CONTINUES) is not None:
        found.append(("goes on with", f"trial {notes[CONTINUES]}"))
    if descent := facts.get("lineage"):
        found += _descent(descent)
    if origin := facts.get("notes", {}).get(RETIMED):
        found.append(("re-timed from", f"trial {origin['trial']} of {origin['study']}"))
    return found


def _descent(descent: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A trial's parent, its ancestors, and what was cut."""
    found = [("rung", str(descent["rung"]))] if descent["rung"] != FINISH else []
    if descent["parent"] is not None:
        word = "made smaller from" if descent["rung"] == NARROW else "trained on from"
        found.append((word, f"trial {descent['parent']}"))
        found.append(("ancestors", " > ".join(map(str, descent["path"]))))
    if descent["cuts"]:
        found.append(("cut for it", "; ".join(cut_text(Cut.read(c)) for c in descent["cuts"])))
    if descent["history"]:
        found.append(("cut since the root", "; ".join(cut_text(Cut.read(c)) for c in descent["history"])))
    if left := left_words(descent["channels_left"]):
        found.append(("channels left", f"about {left}"))
    return found


def exported(study: Study, member: Member, path: Path) -> None:
    from autokd.study.export import receipt_path

    pairs = [("file", str(path)), ("receipt", str(receipt_path(path))), ("trial", str(member.number))]
    pairs += [(o.name, _cell(member, o)) for o in study.plan.objectives]
    verdict = member.record.notes.get("verify", {})
    if verdict:
        pairs.append(
            ("verified", f"{verdict['prediction_mismatches']} of {verdict['n']} predictions differ from the model")
        )
    rows(pairs)


def measured(file: Path, found: Sequence[Mapping[str, Any]]) -> None:
    rows([(_name(m), _told_value(m)) for m in found], str(file))


def verified(found: Mapping[str, Any]) -> None:
    rows([(str(k), str(v)) for k, v in found.items()])


def listing(found: Sequence[Mapping[str, Any]]) -> None:
    rows([(str(r["name"]), str(r["summary"])) for r in found] or [("none", "")])


def doctor(found: Mapping[str, Any]) -> None:
    rows([(k, str(v)) for k, v in found["host"].items()], "host")
    rows([(("ok    " if c["ok"] else "FAILED") + " " + c["name"], c["detail"]) for c in found["checks"]], "checks")


def preflight(plan: Plan, found: Preflight) -> None:
    """The pre-flight in words."""
    size = "infinite" if math.isinf(found.space_size) else f"{found.space_size:.3g}"
    pairs = [("space", f"{size} candidates of {plan.space.family}")]
    for name, (low, high) in found.ranges.items():
        unit = metric_of(name.split("@")[0]).unit
        pairs.append((name, f"{number(low, unit)} to {number(high, unit)} (untrained, sampled)"))
    pairs.append(("feasible", f"{found.feasible_share:.0%} of the sampled candidates before training"))
    pairs += [("refused by", f"{c}: {share:.0%}") for c, share in found.refused.items() if share]
    pairs += [("cannot be built", f"{times} times: {reason}") for reason, times in found.failed.items()]
    pairs.append(("one training", f"about {found.train_s:.1f} CPU s"))
    total = "until stopped" if math.isinf(found.total_s) else f"about {_span(found.total_s)}, teacher not counted"
    pairs.append(("search", total))
    pairs.append(("disk", number(found.disk_bytes, "bytes")))
    rows(pairs, f"pre-flight of {plan.config.name}")
