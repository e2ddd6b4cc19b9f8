"""Keeps this exporter's lease, or waits for it, in a thread of its own; tells when a term begins and ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from exporter.store import StoreError
from exporter.store.lease import Lease, Standing, clock

log = logging.getLogger("exporter.election")
_TRIES = 5  # in the time that a lease lasts


class Election:
    """Whether this exporter leads. `begin(epoch)` and `end()` are called in turn, from one thread."""

    def __init__(self, lease: Lease, config: Callable[[], str], begin: Callable[[int], None], end: Callable[[], None]):
        self.error = "it is not known yet which exporter computes"
        self.seen: Standing | None = None
        self._lease = lease
        self._config = config
        self._begin = begin
        self._end = end
        self._epoch: int | None = None
        self._until = 0.0
        self._differs = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="election", daemon=True)

    @property
    def leads(self) -> bool:
        """Whether no other exporter can lead now; exact, as it does not wait for a thread to notice."""
        return self._epoch is not None and clock() < self._until

    @property
    def trouble(self) -> str:
        """What stands in the way of knowing who leads; empty where it is known."""
        lapsed = self._epoch is not None and not self.leads
        return self.error or ("the lease has run out and is not renewed yet" if lapsed else "")

    def start(self) -> None:
        """Try at once, and then again and again."""
        self._thread.start()

    def stop(self) -> None:
        """Try no more; a lease that is held is given up by `release`."""
        self._stop.set()

    def release(self) -> None:
        """Let another exporter lead at once; where the database cannot be reached, once the lease is over."""
        self._thread.join(10)
        epoch, self._epoch = self._epoch, None
        if epoch is not None and not self._thread.is_alive():
            try:
                self._lease.release(epoch)
            except StoreError as error:
                log.warning("the lease ends by itself: %s", error)
        self._lease.close()

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self._try()
            except Exception:
                log.exception("the election failed")
            self._stop.wait(self._lease.seconds / _TRIES)

    def _try(self) -> None:
        held = self._epoch if self.leads else None  # what lapsed is a term that is over, even if nobody took it
        if held is None and self._epoch is not None:
            log.warning("the lease has run out: %s", self.error or "it was renewed too late")
            self._finish()
        try:
            seen = self._lease.keep(held, self._config())
        except StoreError as error:
            if str(error) != self.error:
                log.error("it is not known which exporter computes: %s", error)
            self.error = str(error)
            return
        if self._epoch is not None and seen.epoch != self._epoch:
            log.warning("another exporter has taken the lease")
            self._finish()
        known, self.seen, self.error = self.seen, seen, ""
        if seen.epoch is None:
            if known is None or known.holder != seen.holder:
                log.info("standing by: %s computes", seen.holder)
            self._compare(seen)
            return
        if self._stop.is_set():
            self._lease.release(seen.epoch)
            return
        begins, self._until, self._epoch = self._epoch is None, seen.until, seen.epoch
        if begins:
            log.info("this exporter computes now (term %d)", seen.epoch)
            try:
                self._begin(seen.epoch)
            except BaseException:
                self._finish()
                self._lease.release(seen.epoch)
                raise

    def _finish(self) -> None:
        self._epoch, self._until = None, 0.0
        self._end()

    def _compare(self, seen: Standing) -> None:
        """Say once of each configuration of the leader that it is not this one's."""
        if seen.config not in {self._config(), self._differs}:
            self._differs = seen.config
            log.warning(
                "%s computes with another configuration (%s) than this exporter has (%s): use the same for both, "
                "or give each a database or schema of its own",
                seen.holder,
                seen.config,
                self._config(),
            )
