"""How much of the machine torch may use: as many threads as a trial, because more are slower where other work is done too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from autokd.runners.memory import give_back, keep_freed


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Inside, torch computes with ``count`` threads; afterwards with as many as before.

    Freed memory stays with the process from the first time on (glibc has no way back), but what is free at the end is
    returned to the system.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    keep_freed()
    try:
        yield
    finally:
        give_back()
        torch.set_num_threads(before)
