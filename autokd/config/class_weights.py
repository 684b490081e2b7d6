"""What a person may write for ``training.class_weights``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticCustomError

from autokd.errors import nearest

WORDS = ("auto", "none")
LARGEST = 1e6


def stated_weights(given: Any) -> Any:
    """``auto``, ``None`` for ``none``, or weights by class name; names that YAML takes for numbers are text again.

    Raises:
        ValueError: Anything else, or a weight that is not in (0, 1e6].
    """
    if given is None or given == "none":
        return None
    if given == "auto":
        return given
    law = "must be auto, none, or a weight for each class that is named"
    if not isinstance(given, Mapping):
        mend = nearest(given, WORDS) if isinstance(given, str) else "Write e.g. {fraud: 10}."
        raise PydanticCustomError("class_weights", law, {"mend": mend})
    if not given:
        raise PydanticCustomError("class_weights", law, {"mend": "Write e.g. {fraud: 10}, or none."})
    for name, weight in given.items():
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not number or not (math.isfinite(weight) and 0 < weight <= LARGEST):
            raise ValueError(f"the weight of a class must be a number above 0, at most 1e6, but {name} has {weight!r}")
    return {str(name): float(weight) for name, weight in given.items()}
