"""``autokd retime``: a new study of an old one's students on other hardware."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from autokd.config.plan import Plan, difference
from autokd.config.retarget import moved_plan
from autokd.errors import StudyError
from autokd.hardware.profile import check_host
from autokd.storage.attributes import PROVENANCE_KEY
from autokd.storage.folders import home_of, new_home, writable
from autokd.storage.ledger import Ledger, storage_url
from autokd.study import search
from autokd.study.opened import OpenStudy
from autokd.study.provenance import Provenance
from autokd.study.warm_start import check_data
from autokd.study.watcher import Silent, Watcher

if TYPE_CHECKING:
    from pathlib import Path


def retime(
    old: OpenStudy,
    profiles: Sequence[str],
    name: str | None = None,
    *,
    front: bool = False,
    requantize: bool = True,
    watcher: Watcher | None = None,
) -> tuple[OpenStudy, str]:
    """A new study of an old one's students on other hardware; called again, it goes on with what is not timed yet.

    Args:
        old: The study whose students are timed.
        profiles: Hardware profiles, see :func:`autokd.config.retarget.moved_plan`.
        name: Of the new study; by default the old one's and the profiles'.
        front: Only the old front's students.
        requantize: Choose the operators of int8 files by the new device's clock where the weights are still there.
        watcher: Is told of progress.

    Returns:
        The new study, and what was done in words.

    Raises:
        UserError: A profile that does not fit, a name that is taken, a changed file, or nothing to time.
    """

    plan = moved_plan(old.plan, profiles, name)
    url, name = storage_url(old.ledger.url), plan.config.name
    for profile in plan.profiles:
        check_host(profile)
    tell: Callable[[str, float | None], None] = (watcher or Silent()).tell
    if not Ledger.exists(url, name):
        origin = Provenance.begin(old, front, True, requantize)
        with new_home(home_of(plan, url), url) as home:
            if not Ledger.exists(url, name):  # another process may just have made it
                _check_matter(old, plan, home, tell)
                OpenStudy.create(plan, url, {PROVENANCE_KEY: asdict(origin)})
    made = OpenStudy.open(name, url)
    known, mend = Provenance.of(made.ledger), "Give this one another name: --name."
    if known is None or not known.only or known.study != old.name:
        raise StudyError("a study's name must be free", repr(name), mend)
    if made.plan.fingerprint() != plan.fingerprint():
        what = difference(made.plan, plan)
        raise StudyError(f"study {name!r} must keep its configuration", f"other values of {what}", mend)
    if (now := known.again(old, front, requantize)) != known:
        now.save(made.ledger)
    return made, search.run(made, watcher)


def _check_matter(old: OpenStudy, plan: Plan, home: Path, tell: Callable[[str, float | None], None]) -> None:
    from autokd.evaluation.prepare import load_data

    root = home.parent.parent
    with writable(root):
        tell("data", None)
        check_data(old.name, old.ledger.url, load_data(plan, root, tell).fingerprint)
