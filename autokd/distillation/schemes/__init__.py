"""Who teaches whom and when, one scheme a file."""

from __future__ import annotations

from autokd.distillation.schemes.scheme import Scheme as Scheme

__all__ = ["Scheme"]
