"""The version of autokd."""

from __future__ import annotations

__version__ = "0.1.0"
