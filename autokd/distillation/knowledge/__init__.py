"""What is transferred: losses over named taps, one a file."""

from __future__ import annotations

from autokd.distillation.knowledge.knowledge import Knowledge as Knowledge

__all__ = ["Knowledge"]
