"""Runs trials under Ray Tune: actors are reused, each keeps one worker process warm."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Read by Ray when it is imported: no telemetry, no output of its own.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Tune's would end the search as if it were finished
os.environ.setdefault("RAY_worker_niceness", "0")  # timings run below the actors: they must not be the nicest
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray import tune
from ray._private import ray_constants
from ray.exceptions import AuthenticationError

from autokd.config.plan import Plan
from autokd.errors import HardwareError, StorageError, first_line
from autokd.runners.evaluator import Evaluator, going_on
from autokd.runners.limits import limits_of
from autokd.runners.ray_scheduler import LedgerScheduler
from autokd.runners.ray_searcher import FATAL_KEY, JOB_KEY, REPORTED_KEY, LedgerSearcher
from autokd.strategies.driver import Driver
from autokd.trial import Outcome

HOME_KEY = "autokd_home"
LIMITS_KEY = "autokd_limits"
REACH_S = 10.0


class Trainable(tune.Trainable):
    """One candidate: hands the job to the actor's worker process and returns its record.

    A step is the training between two of halving's checkpoint shares; without them there is one. A record with the outcome
    ``stopped`` is that of a candidate which rests at a share: the next step goes on, if the scheduler lets it come.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self.evaluator: Evaluator | None = None
        self.job = config[JOB_KEY]
        self.home, self.limits = Path(config[HOME_KEY]), config[LIMITS_KEY]

    def step(self) -> dict[str, Any]:
        if self.evaluator is None:
            self.evaluator = Evaluator(self.home, self.limits)
        try:
            record = self.evaluator.evaluate(self.job)
        except StorageError as error:
            return {"done": True, FATAL_KEY: [error.law, str(error.value), error.mend]}
        if record is not None and record.outcome == Outcome.STOPPED:
            self.job = going_on(self.job, record)
            return {"done": False, REPORTED_KEY: record.to_json()}
        return {"done": True, REPORTED_KEY: record.to_json() if record else ""}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next job; the worker process stays warm."""
        self.job = new_config[JOB_KEY]
        return True

    def cleanup(self) -> None:
        if self.evaluator is not None:
            self.evaluator.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Trials keep their own checkpoint in the stage store."""


class RayRunner:
    """Ray Tune: on this host, or on a cluster with --ray-address."""

    address: str | None = None

    def run(self, driver: Driver, home: Path, concurrency: int) -> None:
        """Run until the driver has no more jobs.

        Raises:
            AutokdError: The study cannot go on.
        """
        with (
            _cluster(self.address, driver.plan, concurrency),
            tempfile.TemporaryDirectory(prefix="autokd-ray-") as scratch,
        ):
            resources = driver.plan.config.resources
            bundle = {"cpu": float(resources.cpus_per_trial), "gpu": float(resources.gpus_per_trial)}
            limits = limits_of(driver.plan, concurrency)
            searcher = LedgerSearcher(driver, {HOME_KEY: str(home), LIMITS_KEY: limits})
            tuner = tune.Tuner(
                tune.with_resources(Trainable, {k: v for k, v in bundle.items() if v}),
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=LedgerScheduler(searcher),
                    num_samples=-1,
                    max_concurrent_trials=concurrency,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name="search",
                    storage_path=scratch,  # Tune's own files are thrown away: the ledger is the record
                    verbose=0,
                    callbacks=[_Clock(driver)],
                ),
            )
            try:
                with contextlib.suppress(_OutOfTime):
                    tuner.fit()
            finally:
                driver.interrupt_all()
        if driver.fatal:
            raise driver.fatal


class _Clock(tune.Callback):
    """Ends running trials when the clock's budget is spent or the study cannot go on."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if self.driver.overdue:
            raise _OutOfTime

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _OutOfTime(Exception):
    """Leaves Tune's loop; caught by nobody but the runner."""


@contextlib.contextmanager
def _loopback() -> Iterator[None]:
    """Let Ray's servers listen on this host's loopback only: they obey whoever reaches them.

    Ray binds to loopback where clusters are not supported (Windows, macOS); this makes it take any host for one of
    these. An explicit ``_node_ip_address`` of 127.0.0.1 does not help: Ray replaces it with the network's address. The
    constants have no public name.
    """
    variable, before = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, ray_constants.ENABLE_RAY_CLUSTER
    stated = os.environ.get(variable)
    os.environ[variable], ray_constants.ENABLE_RAY_CLUSTER = "0", False  # for Ray's processes, and for this one
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        os.environ.pop(variable)
        if stated is not None:
            os.environ[variable] = stated


@contextlib.contextmanager
def _cluster(address: str | None, plan: Plan, concurrency: int) -> Any:
    """A Ray of our own on loopback, or the cluster of ``address``; ours is shut down again."""
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    try:
        if address is not None:
            _reach(address)
            ray.init(address=address, **quiet)
        else:
            cpus = concurrency * plan.config.resources.cpus_per_trial
            with _loopback():
                ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)
    except (ConnectionError, ValueError, RuntimeError, OSError, AuthenticationError) as error:
        law = f"Ray must start on {address or 'this host'}"
        raise HardwareError(law, first_line(error), _mend(error)) from None
    try:
        _check_resources(plan)
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Knock once: Ray itself tries a wrong address for minutes.

    Raises:
        OSError: Nobody answers there.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S).close()


def _mend(error: Exception) -> str:
    """What to do about a Ray that did not start.

    ``ray start`` asks everybody for the token of ``~/.ray/auth_token`` once there is one (any Ray started by a program
    makes one), while ``ray.init`` sends it to a stated address only when told to: a token is not for strangers. Ray
    says no more of it than that it could not connect.
    """
    if isinstance(error, OSError) and not isinstance(error, ConnectionError):
        return "Is the cluster running and reachable? `--runner local` needs no Ray."
    if isinstance(error, ConnectionRefusedError):
        return "Nobody listens there. Is the cluster running? `--runner local` needs no Ray."
    return "Is it Ray that answers there, of the same version? A cluster that wants a token needs RAY_AUTH_MODE=token."


def _check_resources(plan: Plan) -> None:
    """Ray would wait for ever for a trial that no node can carry."""
    wanted = {"CPU": float(plan.config.resources.cpus_per_trial), "GPU": float(plan.config.resources.gpus_per_trial)}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(node.get(kind, 0.0) >= count for kind, count in wanted.items()) for node in nodes):
        have = "; ".join(f"{n.get('CPU', 0):g} CPUs and {n.get('GPU', 0):g} GPUs" for n in nodes)
        law = f"a node must carry a trial of {wanted['CPU']:g} CPUs and {wanted['GPU']:g} GPUs"
        raise HardwareError(law, have, "Lower resources.cpus_per_trial or resources.gpus_per_trial.")
