"""Distillation methods, one a file, and the trainer they share."""
