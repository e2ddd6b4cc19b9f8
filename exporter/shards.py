"""Which of several exporters watches a model."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b


@dataclass(frozen=True)
class Shard:
    """One of `count` exporters that share a configuration; index from 0."""

    index: int = 0
    count: int = 1

    def owns(self, model: str) -> bool:
        """Say whether this exporter watches a model.

        Rendezvous hashing (Thaler and Ravishankar 1998): of n shards that become n + 1, only one model in n + 1 moves.
        """
        return self.count == 1 or max(range(self.count), key=lambda shard: number(model, f"{shard}")) == self.index


def number(*texts: str) -> int:
    """Return a number of 64 bits that is the same in every process."""
    return int.from_bytes(blake2b("\0".join(texts).encode(), digest_size=8).digest(), "big")
