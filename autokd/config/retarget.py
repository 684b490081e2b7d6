"""A study's plan moved to other devices: data, teacher, space and training stay, what names the old devices is renamed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace

from autokd.config.load import from_dict
from autokd.config.objectives import parse_constraints, parse_objectives
from autokd.config.plan import Plan, difference
from autokd.errors import ConfigError, nearest
from autokd.hardware.profile import HardwareProfile, load_profile

STATED = ("name", "space", "hardware", "objectives", "constraints", "reference_point", "sampler", "search")
"""Keys that two studies may differ in while a trained student is the same thing in both (the space is compared resolved)."""


def moved_plan(old: Plan, given: Sequence[str], name: str | None = None) -> Plan:
    """The plan of a study like ``old`` on other hardware.

    Args:
        old: The plan to move.
        given: The new profiles, by name or YAML file; ``OLD=NEW`` says which one stands for which old one.
        name: Of the new study; by default the old one's and the profiles'.

    Raises:
        ConfigError: Unknown profile, or it is open which new profile an objective or a constraint is meant to be on.
    """
    if not given:
        raise ConfigError(
            "a study must be re-timed on at least one profile", "none", "Name it: --profile cpu_2_threads."
        )
    named, stands = _read(given, [p.name for p in old.profiles])
    profiles = {profile.name: profile for profile in named.values()}
    if len(profiles) < len(named):
        raise ConfigError("the new profiles must have different names", ", ".join(named))
    names = [p.name for p in old.profiles]
    objectives = parse_objectives(old.config.objectives, names)
    constraints = parse_constraints(old.config.constraints, names)
    used = {o.profile for o in objectives if o.profile} | {c.profile for c in constraints if c.profile}
    moves = _moves(used, profiles, stands)
    config = old.config.model_dump() | {
        "name": name or "-".join([old.config.name, *profiles]),
        "hardware": list(named),
        "objectives": [str(replace(o, profile=o.profile and moves[o.profile])) for o in objectives],
        "constraints": [str(replace(c, profile=c.profile and moves[c.profile])) for c in constraints],
        "reference_point": {
            o.name: old.config.reference_point[o.name]
            for o in objectives  # what was stated for a device holds for no other one
            if o.name in old.config.reference_point and o.profile is None
        },
    }
    config["search"] = config["search"] | {"from": None}
    checked = from_dict(config)
    raw = {"config": checked.model_dump(), "space": dict(old.space_source)}
    return Plan.from_json(json.dumps(raw | {"profiles": [asdict(p) for p in profiles.values()]}))


def _read(given: Sequence[str], old: Sequence[str]) -> tuple[dict[str, HardwareProfile], dict[str, str]]:
    """The profiles by what was written for them, and the names that stand for old ones."""
    found: dict[str, HardwareProfile] = {}
    stands: dict[str, str] = {}
    for text in given:
        before, equals, after = text.partition("=")
        if equals and before not in old:
            raise ConfigError(
                "--profile OLD=NEW must name a profile of the old study", repr(before), nearest(before, old)
            )
        written = after if equals else text
        found.setdefault(written, load_profile(written))
        if equals:
            stands[before] = found[written].name
    return found, stands


def _moves(used: Iterable[str], new: Mapping[str, HardwareProfile], stands: Mapping[str, str]) -> dict[str, str]:
    """Which new profile every old one that is named becomes."""
    moves = {name: stands.get(name, name) for name in used if name in stands or name in new}
    left = sorted(set(used) - moves.keys())
    free = [name for name in new if name not in moves.values()]
    if len(left) == 1 and len(free) == 1:
        moves[left[0]] = free[0]
    elif left:
        law = "it must be clear which new profile stands for each that objectives and constraints name"
        mend = f"Say it: --profile {left[0]}=NEW, for each of them; or write a study file and `autokd search FILE --from STUDY`."
        raise ConfigError(law, f"{', '.join(left)} and the new {', '.join(free) or 'none'}", mend)
    return moves


def other_matter(old: Plan, new: Plan) -> str:
    """In what two plans differ so that a student of one says nothing in the other: data, teacher, space, training, seed."""
    taken = {key: getattr(old.config, key) for key in STATED}
    source = dict(new.space_source)
    if "description" in old.space_source:
        source["description"] = old.space_source["description"]
    else:
        source.pop("description", None)
    like = replace(new, config=new.config.model_copy(update=taken), space_source=source, profiles=old.profiles)
    return difference(old, like)
