"""Create a study, or go on with the same one, and search; nothing is written before it was found possible."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from autokd import registry
from autokd.config.plan import Plan, difference
from autokd.config.study_file import AUTO
from autokd.errors import StorageError, StudyError
from autokd.hardware.profile import check_host
from autokd.protocols import Dataset
from autokd.storage.attributes import CONFIG_KEY, EDITED_KEY, FACTS_KEY, REFERENCE_KEY, SPENT_KEY, STATE_KEY
from autokd.storage.folders import home_of, new_home, writable
from autokd.storage.heartbeat import driving
from autokd.storage.ledger import Ledger, check_place, storage_url
from autokd.study.opened import OpenStudy
from autokd.study.spent import Spent, spent_before
from autokd.study.warm_start import check_data, check_source
from autokd.study.watcher import Silent, Watcher
from autokd.trial import TrialRecord


def search_plan(
    plan: Plan, watcher: Watcher | None = None, ray_address: str | None = None, spent: Spent | None = None
) -> tuple[OpenStudy, str]:
    """Create the study (or go on with the same one) and search. Returns it and why it ended.

    Nothing is written to the ledger before data, devices and constraints were found possible.

    Args:
        plan: The plan.
        watcher: Shows progress.
        ray_address: A Ray cluster to join.
        spent: Counts the CPU seconds that the study is charged for; from now on where there is none.

    Raises:
        StudyError: The name belongs to a study with another configuration.
        UserError: Data, teacher, device or constraints cannot serve.
    """
    spent = spent or Spent.from_now()
    dataset: Dataset | None = None
    url = storage_url(plan.config.storage.url)
    tell = (watcher or Silent()).tell
    check_place(url)
    if Ledger.exists(url, plan.config.name):
        tell(f"study {plan.config.name} is in the ledger: going on with it", None)
    else:
        check_source(plan, url)
        with new_home(home_of(plan, url), url) as home:
            if not Ledger.exists(url, plan.config.name):  # another process may just have made it
                dataset = _check_before(plan, home, tell)
                OpenStudy.create(plan, url)
    study = OpenStudy.open(plan.config.name, url)
    if study.plan.fingerprint() != plan.fingerprint():
        what = difference(study.plan, plan)
        mend = "Give it another `name`, or go on with the old one: `autokd resume`."
        raise StudyError(f"study {plan.config.name!r} must keep its configuration", f"other values of {what}", mend)
    study.plan = plan
    return study, run(study, watcher, ray_address, spent, dataset)


def _check_before(plan: Plan, home: Path, tell: Callable[[str, float | None], None]) -> Dataset:
    """All that can be refused before the study is in the ledger; gives the data, which were loaded for it."""
    from autokd.evaluation.prepare import check_augmentations, device_of, load_data
    from autokd.evaluation.recipe import check_class_weights
    from autokd.evaluation.screening.preflight import probe, refuse_impossible, refuse_unbuildable, set_up_untaught
    from autokd.evaluation.teacher import check_teacher
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
        check_class_weights(plan, dataset)
        if plan.config.teacher.given and plan.config.teacher.kind != "family":
            tell("teacher", None)
        check_teacher(plan, dataset, root / "teachers", device, tell)
        limited = any(not c.needs_training for c in plan.constraints)
        if not limited and registry.shipped("families", plan.space.family):
            refuse_unbuildable(plan, dataset)  # what builds exports, and nothing else can be impossible
            return dataset
        set_up_untaught(plan, dataset, root, home)
        count = 24 if limited else 4
        with closing(Evaluator(home, screen_limits(plan))) as worker:
            found, failed = probe(plan, worker.screen, count, tell)
    refuse_impossible(plan, found, failed)
    return dataset


def run(
    study: OpenStudy,
    watcher: Watcher | None = None,
    ray_address: str | None = None,
    spent: Spent | None = None,
    dataset: Dataset | None = None,
) -> str:
    """Run, or go on, until the budget is spent. Returns why it ended. Arguments as those of :func:`search_plan`; ``dataset``:
    the study's data, where they were just loaded.

    Raises:
        UserError: Data, teacher or device cannot serve; another driver is at work.
    """
    watcher, total = watcher or Silent(), (spent or Spent.from_now()).of(study)
    with driving(study.ledger, study.home):
        text = study.plan.to_json()
        if text != study.ledger.attr(CONFIG_KEY):
            study.ledger.set_attr(CONFIG_KEY, text)
        try:
            reason = _run(study, watcher, ray_address, total, dataset)
        except BaseException as error:
            ended = "interrupted" if isinstance(error, KeyboardInterrupt) else "stopped"
            with suppress(StorageError):
                study.ledger.set_attr(STATE_KEY, ended)
            raise
        finally:
            with suppress(StorageError):
                study.ledger.set_attr(SPENT_KEY, total())
        study.ledger.set_attr(STATE_KEY, f"finished: {reason}")
        return reason


def _run(
    study: OpenStudy,
    watcher: Watcher,
    ray_address: str | None,
    spent: Callable[[], float],
    dataset: Dataset | None,
) -> str:
    from autokd.evaluation.prepare import prepare
    from autokd.runners.threads import torch_threads
    from autokd.strategies.driver import Driver
    from autokd.study import provenance, warm_start

    edited = edited_since(study)
    only, received = provenance.only_retimes(study.ledger), provenance.received(study.ledger)
    if only and received:
        watcher.tell("note: every file of the other study is timed", None)
        return received
    if str(study.ledger.attr(STATE_KEY)).startswith("finished") and not only:
        before = spent_before(study)
        reason = Driver(study.ledger, study.plan, study.home, spent=lambda: before).finished()
        if reason:
            more = _more(study.plan, reason)
            for name in edited:
                told = "its students are of the one before. Give the study another `name` to search with this one"
                watcher.tell(f"warning: {name} was edited since this study searched: {told}", None)
            watcher.tell(f"this study is finished: `autokd resume --set budget.{more}` would go on", None)
            return reason
    for profile in study.plan.profiles:
        check_host(profile)
    for name in edited:
        if name.startswith("metrics "):
            mend = "Bring the old one back, or search under another `name`."
            raise StudyError(
                "a study must keep the metrics that it measures by", f"{name}, which was edited since", mend
            )
        watcher.tell(f"warning: {name} was edited since: from here on the new one counts", None)
    if unused := unused_method(study.plan):
        watcher.tell(f"warning: {unused}", None)
    study.ledger.set_attr(STATE_KEY, "preparing")
    with writable(study.home), torch_threads(study.plan.config.resources.cpus_per_trial):
        prepared = prepare(study.plan, study.root, study.home, watcher.tell, dataset)
    if edited:
        study.ledger.set_attr(EDITED_KEY, len(study.ledger.trials()))
    study.ledger.set_attr(FACTS_KEY, prepared.facts)
    if study.ledger.attr(REFERENCE_KEY) is None:  # fixed once: the hypervolume must not move
        study.ledger.set_attr(REFERENCE_KEY, list(prepared.reference_point))
    study.ledger.set_attr(STATE_KEY, "searching")
    if only or study.plan.config.search.from_:
        received = warm_start.receive(study, watcher)
        if only:
            return received
        watcher.tell(f"note: {received}", None)
    driver = Driver(study.ledger, study.plan, study.home, spent=spent)
    if study.plan.config.sampler.startswith("nni:"):
        text = "optimises one number: the objectives are scalarised (augmented Chebyshev, weights sweep the front)"
        watcher.tell(f"note: {study.plan.config.sampler} {text}", None)
    watcher.begin(driver, study.hypervolume)
    driver.on_begin = watcher.begun
    driver.on_finish = lambda number, record: after_trial(study, watcher, number, record)
    auto = study.plan.config.runner == AUTO
    runner = registry.load("runners", "ray" if auto and ray_address is not None else study.plan.runner)()
    if ray_address is not None:
        runner.address = ray_address
    try:
        if not driver.finished():
            runner.run(driver, study.home, study.plan.concurrency)
    finally:
        watcher.end()
    return driver.finished() or "no more candidates"


def _more(plan: Plan, reason: str) -> str:
    """What of the budget to raise, for a study that ended for a reason."""
    budget = plan.config.budget
    if budget.stop and "gain <" in reason:
        return "until=null"
    bounds = (("CPU seconds", "cpu_s", budget.cpu_s), (" seconds", "wall_s", budget.wall_s))
    return next((f"{key}=+{most:g}" for words, key, most in bounds if most and words in reason), "trials=+10")


def edited_since(study: OpenStudy) -> list[str]:
    """A person's own code in the plan that is not what it was when the study last searched."""
    from autokd.evaluation.prepare import code_of

    before = (study.ledger.attr(FACTS_KEY) or {}).get("code")
    if not before:  # it never searched, or an older version did
        return []
    return [name for name, now in code_of(study.plan).items() if before.get(name, now) != now]


def unused_method(plan: Plan) -> str:
    """What to say where the space decides the method and never takes the one that the study file names; else nothing."""
    named = plan.config.distillation.method
    searched = next((p.choices for p in plan.space.parameters if p.name == "method"), None)
    if not searched or named in searched:
        return ""
    taken = ", ".join(map(str, searched))
    return (
        f"the space searches `method` among {taken}: distillation.method {named!r} teaches no candidate; add it there"
    )


def after_trial(study: OpenStudy, watcher: Watcher, number: int, record: TrialRecord) -> None:
    """Show a finished trial, and keep the study's folder within its bound."""
    watcher.trial(number, record)
    study.keep_within()
