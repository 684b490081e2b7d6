"""Is told what a search does; what a terminal, a notebook or a dashboard shows of it is its own affair."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from autokd.trial import TrialRecord

if TYPE_CHECKING:
    from autokd.strategies.driver import Driver


class Watcher(Protocol):
    """Is told what a search does."""

    def tell(self, text: str, share: float | None) -> None:
        """A step of the preparation, and the share of it that is done.

        A text that begins with ``note:`` or ``warning:`` is a line of its own, not a step.
        """
        ...

    def begin(self, driver: Driver, volume: Callable[[], float | None]) -> None:
        """The search begins; ``volume`` gives the hypervolume at any moment."""
        ...

    def begun(self, number: int) -> None:
        """A trial was begun."""
        ...

    def trial(self, number: int, record: TrialRecord) -> None: ...

    def end(self) -> None: ...


class Silent:
    """Says nothing."""

    def tell(self, text: str, share: float | None) -> None: ...

    def begin(self, driver: Driver, volume: Callable[[], float | None]) -> None: ...

    def begun(self, number: int) -> None: ...

    def trial(self, number: int, record: TrialRecord) -> None: ...

    def end(self) -> None: ...
