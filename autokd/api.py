"""What the commands and ``import autokd`` offer beside Study: search from a file, a dict or keywords; files; listings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autokd import registry
from autokd.config.load import from_dict, from_yaml
from autokd.config.plan import Plan, make_plan
from autokd.config.study_file import StudyConfig
from autokd.errors import ConfigError, StudyError, nearest
from autokd.storage.attributes import FACTS_KEY
from autokd.storage.ledger import list_studies, storage_url
from autokd.study.search import search_plan
from autokd.study.study import Study
from autokd.study.watcher import Watcher

SHOWN = (*registry.KINDS, "studies")


def search(
    study: str | Path | Mapping[str, Any] | None = None,
    *,
    watcher: Watcher | None = None,
    storage: str | None = None,
    ray_address: str | None = None,
    warm_start: str | None = None,
    **keys: Any,
) -> Study:
    """Run a search and return its study.

    Args:
        study: Path of a study file, a mapping of its keys, or nothing when ``keys`` say it all.
        watcher: Is told of progress; silent by default.
        storage: The ledger's URL or file.
        ray_address: A Ray cluster to join.
        warm_start: A study of the same ledger to begin with, the same as ``search: {from: ...}``.
        **keys: Keys of the study file; they replace those of ``study``.

    Raises:
        UserError: Law, value, mend.
    """
    if isinstance(study, str | Path):
        config = from_yaml(Path(study))
        if keys:
            config = from_dict(config.model_dump() | keys)
    else:
        config = from_dict({**(study or {}), **keys})
    if storage:
        config = _stored(config, storage)
    if warm_start:
        config = from_dict(config.model_dump(), [f"search.from={json.dumps(warm_start)}"])
    done, _ = search_plan(make_plan(config), watcher=watcher, ray_address=ray_address)
    return Study(done.ledger)


def open_study(name: str, storage: str | None = None) -> Study:
    """An existing study by name."""
    return Study.open(name, storage)


def _stored(config: StudyConfig, url: str) -> StudyConfig:
    return config.model_copy(update={"storage": config.storage.model_copy(update={"url": url})})


def _nothing(text: str, share: float | None) -> None:
    return None


def dry_run(plan: Plan, tell: Callable[[str, float | None], None] = _nothing) -> Any:
    """The pre-flight of a plan (:class:`autokd.evaluation.screening.preflight.Preflight`); leaves no study and no files behind."""
    import tempfile

    from autokd.evaluation.parts import Parts
    from autokd.evaluation.prepare import load_data
    from autokd.evaluation.screening.preflight import preflight, set_up_untaught
    from autokd.hardware.profile import check_host
    from autokd.runners.evaluator import Evaluator
    from autokd.runners.limits import screen_limits
    from autokd.runners.threads import torch_threads

    for profile in plan.profiles:
        check_host(profile)
    with tempfile.TemporaryDirectory(prefix="autokd-dry-run-") as name:
        root = Path(name)
        tell("data", None)
        dataset = load_data(plan, root, tell)
        home = root / "studies" / "dry-run"
        set_up_untaught(plan, dataset, root, home)
        with (
            closing(Parts.open(home)) as parts,
            closing(Evaluator(home, screen_limits(plan))) as worker,
            torch_threads(plan.config.resources.cpus_per_trial),
        ):
            return preflight(plan, parts, worker.screen, plan.concurrency, tell)


def measure_file(file: Path, profiles: Sequence[str]) -> list[dict[str, Any]]:
    """Size, MACs, parameters, and latency and memory of an ONNX file on each profile.

    Raises:
        UserError: Not an ONNX file, or the host cannot stand for a profile.
        StageFailure: It could not be timed.
    """
    from autokd.evaluation.costs import file_costs
    from autokd.hardware.meter import LatencyMeter
    from autokd.hardware.profile import check_host, load_profile
    from autokd.hardware.turnstile import Quiet

    if not file.is_file():
        raise ConfigError("the file must exist", str(file))
    loaded = [load_profile(p) for p in profiles]
    for profile in loaded:
        check_host(profile)
    root = Path(".autokd")  # the same clock as this folder's studies
    with LatencyMeter(loaded, Quiet(), root / "clocks" if root.is_dir() else None) as meter:
        return [asdict(m) for m in file_costs(file, loaded, meter)]


def verify_file(file: Path, name: str, storage: str | None) -> dict[str, Any]:
    """Whether a file is one that the study measured, and scores the validation split as it did then."""
    import numpy as np

    from autokd.data.dataset_store import open_dataset
    from autokd.deployment.verify import scores
    from autokd.files import file_sha256

    if not file.is_file():
        raise ConfigError("the file must exist", str(file))
    study = Study.open(name, storage)
    digest = file_sha256(file)
    twin = next((m for m in study.members() if m.record.artifact_sha256 == digest), None)
    facts = study.ledger.attr(FACTS_KEY)
    if facts is None:
        raise StudyError("the study must have been prepared", name, "Run `autokd resume`.")
    dataset = open_dataset(Path(facts["data"]["folder"]))
    index = dataset.splits.validation
    found = scores(file, np.asarray(dataset.inputs[index]))
    if found.shape != (len(index), len(dataset.classes)):
        raise ConfigError(f"the file's scores must have shape {(len(index), len(dataset.classes))}", found.shape)
    accuracy = float((found.argmax(1) == dataset.targets[index]).mean())
    recorded = twin.record.value("accuracy") if twin else None
    same = recorded is not None and abs(accuracy - recorded) <= 1.0 / len(index)
    return {
        "ok": bool(twin is not None and same),
        "file": str(file),
        "sha256": digest,
        "trial": twin.number if twin else None,
        "accuracy": accuracy,
        "recorded_accuracy": recorded,
        "samples": len(index),
    }


def listing(kind: str, storage: str | None = None) -> list[dict[str, Any]]:
    """Rows of ``autokd list``: name, kind, summary, source.

    Raises:
        ConfigError: Unknown kind.
    """
    if kind not in SHOWN:
        raise ConfigError("`autokd list` must be asked for one kind", repr(kind), nearest(kind, SHOWN))
    if kind == "studies":
        rows = list_studies(storage)
        url = storage_url(storage)
        return [
            {"name": r["name"], "kind": kind, "summary": f"{r['state']}, {r['trials']} trials", "source": url}
            for r in rows
        ]
    return [asdict(r) for r in registry.listing(kind)]
