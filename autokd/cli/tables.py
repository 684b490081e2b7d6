"""What the commands print for people: tables with units, devices and spread, sized to the terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autokd.config.objectives import metric_of, relative_spread
from autokd.formatting import number, span
from autokd.storage.lineage import FINISH, NARROW, cut_text, left_words
from autokd.trial import CONTINUES, RETIMED, Cut, Measurement, rested_at

if TYPE_CHECKING:
    from autokd.config.plan import Plan
    from autokd.evaluation.screening.preflight import Preflight
    from autokd.study.export import Exported


def out() -> Console:
    """Standard output, as wide as the terminal."""
    # a pipe has no width: give tables room instead of cutting them at 80 columns
    return Console(width=None if sys.stdout.isatty() else 160)


def rows(pairs: Sequence[tuple[str, str]], title: str | None = None) -> None:
    """Two plain columns."""
    table = Table(show_header=False, box=None, title=title, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in pairs:
        table.add_row(Text(key), Text(value))
    out().print(table)


def status(facts: Mapping[str, Any]) -> None:
    outcomes = ", ".join(f"{n} {o}" for o, n in facts["outcomes"].items() if n) or "none yet"
    pairs = [
        ("study", facts["study"]),
        ("state", str(facts["state"])),
        ("counted", f"{facts['counted']} of {facts['budget'].get('trials', 'unlimited')} trials that began training"),
        ("trials", outcomes),
        *([("re-timed", f"{facts['retimed']} students of another study")] if facts.get("retimed") else []),
        (
            "spent",
            spent_words(facts),
        ),
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


def spent_words(facts: Mapping[str, Any]) -> str:
    """What a study has cost: ``58 CPU s in all, 44 of them in trials; 31 s of searching``."""
    every = f"{facts['spent_cpu_s']:.0f} CPU s in all, {facts['cpu_s']:.0f} of them in trials"
    return f"{every}; {facts['wall_s']:.0f} s of searching"


def ladder_words(worth: Mapping[str, Any]) -> str:
    """What a root and its descendants brought: ``12 rungs, +0.412 hypervolume in 38 CPU s (0.0108 a second)``."""
    rungs = f"{worth['rungs']} rung{'s' * (worth['rungs'] != 1)}"
    rate = f"{worth['gain_per_cpu_s']:.3g} a second"
    return f"{rungs}, {worth['gain']:+.3f} hypervolume in {worth['cpu_s']:.0f} CPU s ({rate})"


def trial(facts: Mapping[str, Any], recalls: Sequence[tuple[str, str]] = ()) -> None:
    """All about a trial; ``recalls``: name and recall of each class, the worst first."""
    rows([("trial", str(facts["number"])), ("outcome", str(facts["outcome"])), *_reasons(facts)])
    rows([(k, str(v)) for k, v in facts["params"].items()], "parameters")
    rows([(_name(m), _told_value(m)) for m in facts["measurements"]], "measurements")
    if facts.get("confirmed"):
        rows([(k, f"{v:.4f}") for k, v in facts["confirmed"].items()], "on the test split")
    if recalls:
        rows(recalls, "recall by class")
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


def exported(found: Exported) -> None:
    pairs = [("file", str(found.file)), ("receipt", str(found.receipt)), ("trial", str(found.trial))]
    pairs += [(name, measurement(m)) for name, m in found.objectives.items()]
    if found.differ is not None:
        pairs.append(("verified", f"{found.differ[0]} of {found.differ[1]} predictions differ from the model"))
    rows(pairs)


def measurement(found: Measurement | None) -> str:
    """A number with unit and spread; a dash where there is none."""
    return number(found.value, found.unit, found.spread, relative=relative_spread(found.metric)) if found else "-"


def _told_value(m: Mapping[str, Any]) -> str:
    """A measurement out of plain values."""
    return number(m["value"], m["unit"], m["spread"], relative=relative_spread(m["metric"]))


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
    total = "until stopped" if math.isinf(found.total_s) else f"about {span(found.total_s)}, teacher not counted"
    pairs.append(("search", total))
    pairs.append(("disk", number(found.disk_bytes, "bytes")))
    rows(pairs, f"pre-flight of {plan.config.name}")
