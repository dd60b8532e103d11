from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mux.core.timers import Timers

names = st.sampled_from(["a", "b", ("c", 1), 4, object()])
times = st.integers(0, 20).map(float)


class AgainstADictionary(RuleBasedStateMachine):
    """Whatever is set, replaced, cancelled and taken, the timers say what a plain dictionary would."""

    def __init__(self) -> None:
        super().__init__()
        self.timers = Timers()
        self.model: dict[object, tuple[float, int]] = {}
        self.count = 0

    @rule(name=names, when=times)
    def put(self, name: object, when: float) -> None:
        self.count += 1
        self.timers.set(name, when)
        self.model[name] = (when, self.count)

    @rule(name=names)
    def cancel(self, name: object) -> None:
        self.timers.cancel(name)
        self.model.pop(name, None)

    @rule(now=times)
    def due(self, now: float) -> None:
        expected = [
            name for name, _ in sorted(self.model.items(), key=lambda item: item[1]) if self.model[name][0] <= now
        ]
        assert self.timers.due(now) == expected
        for name in expected:
            del self.model[name]

    @invariant()
    def agree(self) -> None:
        earliest = min((when for when, _ in self.model.values()), default=None)
        assert self.timers.deadline() == earliest
        assert len(self.timers) == len(self.model)
        assert all(name in self.timers for name in self.model)
        assert all(self.timers.due_at(name) == when for name, (when, _) in self.model.items())
        assert "never set" not in self.timers
        assert self.timers.due_at("never set") == float("inf")


TestTimers = AgainstADictionary.TestCase


def test_names_that_do_not_compare_may_fall_due_together() -> None:
    timers = Timers()
    timers.set("a", 1.0)
    timers.set(("b", 2), 1.0)
    timers.set(3, 1.0)
    assert timers.due(1.0) == ["a", ("b", 2), 3]
    assert timers.deadline() is None
