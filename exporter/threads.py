"""Learning on one thread: sums in one order, so the same rows give the same model."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep scikit-learn and the numerical libraries to this thread.

    One learner at a time: the limit is the process's, and two that set and restore it would undo each other.
    """
    import sklearn.ensemble  # noqa: F401 - only what is loaded already is limited
    from threadpoolctl import threadpool_limits

    with _ONE_AT_A_TIME, threadpool_limits(1):
        yield
