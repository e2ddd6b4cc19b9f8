"""Learning on one thread: sums in one order, so the same rows give the same model. Counting on all of them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_ONE_AT_A_TIME = threading.Lock()
_MOST = 16
_own = threading.local()
Item = TypeVar("Item")
Result = TypeVar("Result")


def each(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Do something for each item, on as many threads as this process may use; return the results in order.

    All of the process share the threads, so that many models at once do not crowd it. No item may wait for another.
    """
    return list(_pool().map(work, items))


def scratch(name: str, length: int) -> NDArray[np.float64]:
    """Return this thread's own float64 array of that name and at least that length; it is overwritten by the next use.

    Memory touched for the first time is slow, so it is kept.
    """
    found: NDArray[np.float64] | None = getattr(_own, name, None)
    if found is None or len(found) < length:
        found = np.empty(length)
        setattr(_own, name, found)
    return found[:length]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(len(os.sched_getaffinity(0)), _MOST), thread_name_prefix="count")


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep scikit-learn and the numerical libraries to this thread.

    One learner at a time: the limit is the process's, and two that set and restore it would undo each other.
    """
    import sklearn.ensemble  # noqa: F401 - only what is loaded already is limited
    from threadpoolctl import threadpool_limits

    with _ONE_AT_A_TIME, threadpool_limits(1):
        yield
