"""Whole-candidate evaluation: the one place where students, data, distillation, compression, hardware and deployment meet."""
