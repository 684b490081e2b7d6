"""``budget: {until: "gain < 0.5% in 20 min"}``: the condition under which a search is no longer worth its time."""

from __future__ import annotations

import re
from dataclasses import dataclass

from autokd.formatting import SECONDS, in_largest_unit

WINDOW_S = 600.0
"""The time ahead that a condition, and every advice, looks at unless another is stated."""
_FORM = re.compile(
    r"\s*gain\s*<\s*(?P<percent>\d+(\.\d*)?|\.\d+)\s*%"
    r"(\s*in\s+(?P<time>\d+(\.\d*)?|\.\d+)\s*(?P<unit>s|min|h))?\s*"
)


@dataclass(frozen=True)
class Until:
    """The search ends when less than ``gain`` is expected of the next ``window_s`` seconds.

    Args:
        gain: Share of the current hypervolume, above 0.
        window_s: Seconds of search, above 0.
    """

    gain: float
    window_s: float = WINDOW_S

    @classmethod
    def parse(cls, text: object) -> Until:
        """``"gain < 0.5%"``, ``"gain < 0.5% in 20 min"``.

        Raises:
            ValueError: Anything else; the message says the form.
        """
        law = 'must read "gain < X%" or "gain < X% in T min" (s, min or h), X and T above 0'
        found = _FORM.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise ValueError(f'{law}, e.g. "gain < 0.5%"')
        gain = float(found["percent"]) / 100
        window_s = WINDOW_S if found["time"] is None else float(found["time"]) * SECONDS[found["unit"]]
        if gain <= 0 or window_s <= 0:
            raise ValueError(f"{law}: a gain or a time of 0 would never end the search")
        return cls(gain, window_s)

    def __str__(self) -> str:
        """As it may be written in a study file."""
        number, unit = in_largest_unit(self.window_s)
        return f"gain < {100 * self.gain:g}%" + ("" if self.window_s == WINDOW_S else f" in {number} {unit}")
