"""What the commands and ``import autokd`` offer beside Study: search from a file, a dict or keywords; files; listings."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autokd import registry
from autokd.config.load import from_dict, from_yaml
from autokd.config.plan import Plan, difference, make_plan
from autokd.config.study_file import StudyConfig
from autokd.errors import ConfigError, HardwareError, StudyError, nearest
from autokd.progress import Watcher
from autokd.storage.folders import home_of, new_home, writable
from autokd.storage.ledger import Ledger, check_place, list_studies, storage_url
from autokd.study import Study
from autokd.warm_start import check_data, check_source

SHOWN = ("methods", "samplers", "spaces", "profiles", "families", "teachers", "data", "studies", "pruners", "runners")


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
    return done


def open_study(name: str, storage: str | None = None) -> Study:
    """An existing study by name."""
    return Study.open(name, storage)


def _stored(config: StudyConfig, url: str) -> StudyConfig:
    return config.model_copy(update={"storage": config.storage.model_copy(update={"url": url})})


def search_plan(plan: Plan, watcher: Watcher | None = None, ray_address: str | None = None) -> tuple[Study, str]:
    """Create the study (or go on with the same one) and search. Returns it and why it ended.

    Nothing is written to the ledger before data, devices and constraints were found possible.

    Raises:
        StudyError: The name belongs to a study with another configuration.
        UserError: Data, teacher, device or constraints cannot serve.
    """
    url = storage_url(plan.config.storage.url)
    tell = watcher.tell if watcher else _nothing
    check_place(url)
    if Ledger.exists(url, plan.config.name):
        tell(f"study {plan.config.name} is in the ledger: going on with it", None)
    else:
        check_source(plan, url)
        with new_home(home_of(plan, url), url) as home:
            if not Ledger.exists(url, plan.config.name):  # another process may just have made it
                _check_before(plan, home, tell)
                Study.create(plan, url)
    study = Study.open(plan.config.name, url)
    if study.plan.fingerprint() != plan.fingerprint():
        what = difference(study.plan, plan)
        mend = "Give it another `name`, or go on with the old one: `autokd resume`."
        raise StudyError(f"study {plan.config.name!r} must keep its configuration", f"other values of {what}", mend)
    study.plan = plan
    return study, study.search(watcher, ray_address)


def _nothing(text: str, share: float | None) -> None:
    return None


def _check_before(plan: Plan, home: Path, tell: Callable[[str, float | None], None]) -> None:
    """All that can be refused before the study is in the ledger."""
    from autokd.evaluation.preflight import probe, refuse_impossible, set_up_untaught
    from autokd.evaluation.prepare import check_augmentations, device_of, load_data
    from autokd.evaluation.teaching import check_teacher
    from autokd.hardware.profile import check_host
    from autokd.runners.evaluator import Evaluator
    from autokd.runners.limits import screen_limits
    from autokd.strategies.sampling import make_sampler

    for profile in plan.profiles:
        check_host(profile)
    device = device_of(plan)
    make_sampler(plan, 0)
    root = home.parent.parent
    with writable(root):
        tell("data", None)
        dataset = load_data(plan, root, tell)
        if plan.config.search.from_:
            check_data(plan.config.search.from_, storage_url(plan.config.storage.url), dataset.fingerprint)
        check_augmentations(plan, dataset)
        if plan.config.teacher.kind != "family":
            tell("teacher", None)
        check_teacher(plan, dataset, root / "teachers", device, tell)
        set_up_untaught(plan, dataset, root, home)
        count = 24 if any(not c.needs_training for c in plan.constraints) else 4
        with closing(Evaluator(home, screen_limits(plan))) as worker:
            found, failed = probe(plan, worker.screen, count, tell)
    refuse_impossible(plan, found, failed)


def dry_run(plan: Plan, tell: Callable[[str, float | None], None] = _nothing) -> Any:
    """The pre-flight of a plan (:class:`autokd.evaluation.preflight.Preflight`); leaves no study and no files behind."""
    import tempfile

    from autokd.evaluation.parts import Parts
    from autokd.evaluation.preflight import preflight, set_up_untaught
    from autokd.evaluation.prepare import load_data
    from autokd.evaluation.threads import torch_threads
    from autokd.hardware.profile import check_host
    from autokd.runners.evaluator import Evaluator
    from autokd.runners.limits import screen_limits

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
    from autokd.hardware.latency import LatencyMeter
    from autokd.hardware.profile import check_host, load_profile
    from autokd.hardware.quiet import Quiet

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

    from autokd.deployment.verify import scores
    from autokd.evaluation.dataset_store import open_dataset
    from autokd.files import file_sha256

    if not file.is_file():
        raise ConfigError("the file must exist", str(file))
    study = Study.open(name, storage)
    digest = file_sha256(file)
    twin = next((m for m in study.members() if m.record.artifact_sha256 == digest), None)
    facts = study.ledger.attr("autokd:facts")
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


def doctor() -> dict[str, Any]:
    """Facts of this host and checks that autokd can do its work here."""
    from autokd.evaluation.doctor import examine

    return examine()


def serve_dashboard(study: str | None, storage: str | None, port: int, host: str, open_browser: bool) -> int:
    """Run Streamlit on the dashboard until it is stopped; returns its exit code.

    Raises:
        HardwareError: The port is taken, or the address is none of this host's.
    """
    import socket

    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        law = "the dashboard must be served on an address of this host"
        raise HardwareError(law, f"--host {host}: {error.strerror}", "The default is 127.0.0.1.") from None
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(place)
        except OSError as error:
            mend = "Give another --port." if error.errno == errno.EADDRINUSE else "Give another --host or --port."
            raise HardwareError("the dashboard needs a free port", f"{host}:{port}: {error.strerror}", mend) from None
    if host not in ("127.0.0.1", "localhost", "::1"):
        sys.stderr.write(f"warning: everybody who reaches {host} can read these studies\n")
    command = [sys.executable, "-m", "autokd.dashboard.serve", "--server.address", host, "--server.port", str(port)]
    command += ["--server.headless", "false" if open_browser else "true", "--browser.gatherUsageStats", "false"]
    command += ["--server.fileWatcherType", "none", "--browser.serverAddress", host, "--client.toolbarMode", "viewer"]
    command += ["--client.showErrorDetails", "none", "--runner.magicEnabled", "false"]
    environment = os.environ | {"AUTOKD_DASHBOARD_STORAGE": storage_url(storage), "AUTOKD_DASHBOARD_STUDY": study or ""}
    shown = f"[{host}]" if ":" in host else host
    sys.stderr.write(f"Dashboard: http://{shown}:{port}  (Ctrl-C ends it)\n")
    server = subprocess.Popen(command, env=environment)
    signal.signal(signal.SIGTERM, lambda number, frame: server.terminate())  # no orphan that keeps the port
    try:
        return server.wait()
    except KeyboardInterrupt:
        server.terminate()
        server.wait()
        return 0
