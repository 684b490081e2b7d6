"""How trained students are used: each candidate by itself, or ladders that walk down from trained ones."""

from __future__ import annotations

from autokd.strategies.independent import Independent
from autokd.strategies.strategy import SAMPLE, Strategy, has_ladders, make_strategy

__all__ = ["SAMPLE", "Independent", "Strategy", "has_ladders", "make_strategy"]
