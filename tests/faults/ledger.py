"""What one session has asked and what came of it: every answer is compared with the only right one, once."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mux.errors import OUTCOME_UNKNOWN, UPSTREAM_UNAVAILABLE
from tests.support.session import Json, Session

DONE, NOT_STARTED, UNKNOWN = "done", "not_started", "unknown"
STATES = {UPSTREAM_UNAVAILABLE: NOT_STARTED, OUTCOME_UNKNOWN: UNKNOWN}
NOTICE_SECONDS = 1.0
"""A request that is sent so soon after a death may still be given to the dead."""
PATIENCE = 60.0


class Asked(NamedTuple):
    """A request without an answer. text: what a tool has to say, None for a list. mark: of an effect."""

    at: float
    text: str | None
    mark: str = ""


class Ledger:
    """The requests of one session; `name` makes their texts differ from those of all others.

    deaths: when something was killed that can cost a request its answer; the test appends to it before it kills.
    `effects`: how the answer to each mark has it, one of DONE, NOT_STARTED and UNKNOWN. Answers are forgotten once they
    are compared, so that a long test stays small.
    """

    def __init__(self, session: Session, name: object, deaths: Sequence[float]) -> None:
        self.session = session
        self.open: dict[str, Asked] = {}
        self.effects: dict[str, str] = {}
        self.asked = self.answered = 0
        self.errors: Counter[tuple[str, int]] = Counter()
        self._name = name
        self._deaths = deaths
        session.take()

    def echo(self, size: int) -> None:
        text = f"{self._name} {self.asked} {'x' * size}"
        self._asked(self.session.begin_call("echo", text=text), text)

    def effect(self, file: Path, seconds: float) -> None:
        """seconds: from the effect to its answer, in which a death finds it done and unanswered."""
        mark = f"{self._name}-{self.asked}"
        self._asked(self.session.begin_call("effect", file=str(file), mark=mark, seconds=seconds), DONE, mark)

    def list_tools(self) -> None:
        self._asked(self.session.begin("tools/list"), None)

    def _asked(self, number: Any, text: str | None, mark: str = "") -> None:
        self.asked += 1
        self.open[json.dumps(number)] = Asked(time.monotonic(), text, mark)

    def wait(self) -> None:
        """Until the oldest request is answered; then as `collect`."""
        self.session.response(json.loads(next(iter(self.open))), seconds=PATIENCE)
        self.collect()

    def settle(self) -> None:
        """Until everything is answered."""
        while self.open:
            self.wait()
        self.collect()

    def collect(self) -> None:
        """Compare what has come. Fails on a line that is not whole, and on an answer that is wrong or one too many."""
        lines, answers = self.session.take()
        for line in lines:
            assert isinstance(json.loads(line), dict), line[:200]
        for key, found in answers.items():
            assert len(found) == 1, f"{len(found)} answers to {key}"
            asked = self.open.pop(key, None)
            assert asked is not None, f"an answer to {key}, which waits for none: {str(found[0])[:200]}"
            self.answered += 1
            self._compare(asked, found[0])

    def _compare(self, asked: Asked, answer: Json) -> None:
        state = DONE
        if "error" in answer:
            state = self._bear(asked, answer["error"])
        elif asked.text is None:
            assert {"echo", "effect"} < {tool["name"] for tool in answer["result"]["tools"]}
        else:
            (content,) = answer["result"]["content"]
            assert content["text"] == asked.text, f"{content['text'][:50]!r} for {asked.text[:50]!r}"
        if asked.mark:
            self.effects[asked.mark] = state

    def _bear(self, asked: Asked, error: Json) -> str:
        """The execution state that the error tells. Fails unless a death excuses it: two for what can be repeated."""
        state = STATES.get(error["code"])
        assert state is not None, error
        assert error["data"]["mux"]["executionState"] == state, error
        met = [death for death in self._deaths if death > asked.at - NOTICE_SECONDS]
        assert met, f"nothing has died: {error}"
        if asked.text is None:
            assert state == NOT_STARTED or (len(met) > 1 and met[-1] > asked.at), f"not asked again: {error}"
        self.errors["list" if asked.text is None else "effect" if asked.mark else "echo", error["code"]] += 1
        return state


def check_effects(file: Path, ledgers: Iterable[Ledger]) -> None:
    """What was answered has happened once, what was not started has not, and nothing has happened twice."""
    marks = Counter(file.read_text(encoding="utf-8").split())
    states = {mark: state for ledger in ledgers for mark, state in ledger.effects.items()}
    allowed = {DONE: (1,), NOT_STARTED: (0,), UNKNOWN: (0, 1)}
    wrong = {mark: (state, marks[mark]) for mark, state in states.items() if marks[mark] not in allowed[state]}
    assert not wrong, f"how often effects happened, against their answers: {wrong}"
    assert marks.keys() <= states.keys()
