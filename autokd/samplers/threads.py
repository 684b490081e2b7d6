"""Small matrices on one thread: on cores that train as well, BLAS threads wait for each other far longer than they compute."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager

from threadpoolctl import ThreadpoolController


@functools.cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()  # looks at what is loaded, so not before numpy and scipy are


def one_thread() -> AbstractContextManager[object]:
    """Inside, numpy and scipy compute with one thread, in the whole process.

    Fitting one kernel to 120 measurements beside four busy processes on two cores took .35 to 7.9 s with two threads, .06 to
    .15 s with one.
    """
    limit: AbstractContextManager[object] = _libraries().limit(limits=1, user_api="blas")
    return limit
