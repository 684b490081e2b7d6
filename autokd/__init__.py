"""Neural architecture search with knowledge distillation: students scored by the ONNX file that would ship."""

from __future__ import annotations

__version__ = "0.1.0"
