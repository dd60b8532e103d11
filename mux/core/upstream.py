"""The life of one MCP server: every state and transition, back-off and breaker. It decides when; the router, what.

STOPPED ─need─> STARTING ─runs─> OPENING ─handshake─> READY (─restart─> DRAINING) ─stop─> STOPPING ─exit─> STOPPED
                   └───────── exit ─────────┴───────────┴──> BACKOFF ─due─> STOPPED, or FAILED ─cooled off─> STOPPED
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from mux import limits


class State(Enum):
    """Where an upstream stands."""

    STOPPED = "stopped"
    STARTING = "starting"
    OPENING = "initializing"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    FAILED = "failed"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.STOPPED: frozenset({State.STARTING}),
    State.STARTING: frozenset({State.OPENING, State.STOPPING, State.BACKOFF, State.FAILED}),
    State.OPENING: frozenset({State.READY, State.STOPPING, State.BACKOFF, State.FAILED}),
    State.READY: frozenset({State.DRAINING, State.STOPPING, State.BACKOFF, State.FAILED}),
    State.DRAINING: frozenset({State.STOPPING, State.BACKOFF, State.FAILED}),
    State.STOPPING: frozenset({State.STOPPED}),
    State.BACKOFF: frozenset({State.STOPPED}),
    State.FAILED: frozenset({State.STOPPED}),
}

RUNNING = frozenset({State.STARTING, State.OPENING, State.READY, State.DRAINING})


class Upstream:
    """State of one server. generation: how often it was started. due: when BACKOFF or FAILED ends."""

    __slots__ = ("due", "failures", "generation", "last_error", "pid", "process", "since", "state")

    def __init__(self) -> None:
        self.state = State.STOPPED
        self.generation = 0
        self.process = 0
        self.pid = 0
        self.since = 0.0
        self.due = 0.0
        self.last_error = ""
        self.failures: deque[float] = deque(maxlen=limits.BREAKER_FAILURES)

    @property
    def running(self) -> bool:
        """Whether a process exists that is not on its way out."""
        return self.state in RUNNING

    @property
    def open(self) -> bool:
        """Whether the process takes messages; new requests go up only when it is READY."""
        return self.state in (State.READY, State.DRAINING)

    def enter(self, state: State, now: float) -> None:
        """Change the state. A transition that the table lacks is a defect of the caller: raises RuntimeError."""
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"upstream: no way from {self.state.value} to {state.value}")
        self.state = state
        self.since = now

    def start(self, process: int, now: float) -> None:
        """A new generation, as `process`."""
        self.enter(State.STARTING, now)
        self.generation += 1
        self.process = process
        self.pid = 0

    def fail(self, reason: str, now: float) -> None:
        """It ended by itself, or could not start: back off, or fail fast if that happens too often."""
        self.failures.append(now)
        self.last_error = reason
        recent = [at for at in self.failures if now - at < limits.BREAKER_WINDOW_SECONDS]
        if len(recent) >= limits.BREAKER_FAILURES:
            self.enter(State.FAILED, now)
            self.due = now + limits.BREAKER_COOL_OFF_SECONDS
        else:
            self.enter(State.BACKOFF, now)
            self.due = now + limits.RESTART_FIRST_SECONDS * 2 ** (len(recent) - 1)
        self.process = self.pid = 0

    def stopped(self, now: float) -> None:
        """It is gone because it was told to, or a pause after a failure is over."""
        self.enter(State.STOPPED, now)
        self.process = self.pid = 0
