"""How large the benchmarks are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """How many of everything."""

    name: str
    sizes: tuple[int, ...]
    burst: int
    applications: int
    others: int
    runs: int
    sequence: int
    repairs: int
    resync_seconds: int
    exposing: int
    deleted: int
    foreign: int
    failovers: int
    outage_seconds: int
    busy_exposing: int
    busy_scopes: int
    busy_clients: int
    failing: int
    rotations: int
    growth: tuple[int, ...]
    added: int
    stored: int

    @property
    def fleet(self) -> int:
        """The largest number of resources."""
        return max(self.sizes)


FULL = Scale(
    "full",
    (20, 200, 1000),
    burst=200,
    applications=300,
    others=500,
    runs=3,
    sequence=20,
    repairs=10,
    resync_seconds=60,
    exposing=100,
    deleted=20,
    foreign=5000,
    failovers=20,
    outage_seconds=600,
    busy_exposing=30,
    busy_scopes=200,
    busy_clients=600,
    failing=1000,
    rotations=100,
    growth=(100, 1000, 5000, 10_000),
    added=100,
    stored=50_000,
)
QUICK = Scale(
    "quick",
    (5, 20),
    burst=20,
    applications=10,
    others=50,
    runs=1,
    sequence=3,
    repairs=2,
    resync_seconds=10,
    exposing=5,
    deleted=3,
    foreign=50,
    failovers=1,
    outage_seconds=20,
    busy_exposing=3,
    busy_scopes=20,
    busy_clients=20,
    failing=20,
    rotations=4,
    growth=(5, 20),
    added=5,
    stored=500,
)
