"""What one peer says is handed on in order, whole and in portions, and everybody else has a turn between two."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from mux.backend.portions import Portions

MOST = 3


class Peer:
    """A source that is read while `reading`, and what was taken of it: (turn of the loop, items).

    pauses: after the first portions, seconds; none after later ones.
    """

    def __init__(self, pauses: Sequence[float] = ()) -> None:
        self.reading = True
        self.turn = 0
        self._pauses = list(pauses)
        self.taken: list[tuple[int, list[int]]] = []
        self.portions: Portions[int] = Portions(asyncio.get_running_loop(), self._take, MOST, self._pause)
        self.portions.open(self)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    @property
    def items(self) -> list[int]:
        return [item for _, items in self.taken for item in items]

    async def until_read(self) -> None:
        """Turns of the loop until it is read again."""
        while not self.reading:
            await self.next()

    async def next(self) -> None:
        self.turn += 1
        await asyncio.sleep(0)

    def _pause(self, portion: Sequence[int]) -> float:
        assert portion
        return self._pauses.pop(0) if self._pauses else 0.0

    def _take(self, items: Sequence[int]) -> None:
        self.taken.append((self.turn, list(items)))


@given(st.lists(st.integers(min_value=0, max_value=5 * MOST), max_size=8))
def test_nothing_is_lost_or_reordered_and_no_turn_has_more_than_a_portion(sizes: list[int]) -> None:
    async def run() -> None:
        peer = Peer()
        count = 0
        for size in sizes:
            peer.portions.put(range(count, count + size))
            count += size
            await peer.until_read()
            await peer.next()
        assert peer.items == list(range(count))
        assert all(len(items) <= MOST for _, items in peer.taken)
        turns = [turn for turn, items in peer.taken if items]
        assert len(set(turns)) == len(turns)

    asyncio.run(run())


async def test_a_portion_is_taken_at_once_and_reading_goes_on() -> None:
    peer = Peer()
    peer.portions.put(range(MOST))
    assert peer.taken == [(0, [0, 1, 2])]
    assert peer.reading


async def test_nothing_is_read_until_all_was_taken() -> None:
    peer = Peer()
    peer.portions.put(range(2 * MOST + 1))
    seen = []
    while not peer.reading:
        seen.append(len(peer.items))
        await peer.next()
    assert seen == [3, 6]
    assert len(peer.items) == 2 * MOST + 1


async def test_what_comes_while_some_waits_comes_after_it() -> None:
    peer = Peer()
    peer.portions.put(range(MOST + 1))
    peer.portions.put([MOST + 1])
    assert peer.items == [0, 1, 2]
    await peer.until_read()
    assert peer.items == [0, 1, 2, 3, 4]


async def test_two_peers_take_turns() -> None:
    order: list[str] = []
    loop = asyncio.get_running_loop()
    for name in "ab":
        portions: Portions[str] = Portions(loop, order.extend, MOST)
        portions.put([name] * 2 * MOST)
    await asyncio.sleep(0)
    assert "".join(order) == "aaabbbaaabbb"


async def test_what_is_discarded_is_never_taken_and_its_source_is_left_alone() -> None:
    peer = Peer()
    peer.portions.put(range(2 * MOST))
    peer.portions.discard()
    for _ in range(3):
        await peer.next()
    assert peer.items == [0, 1, 2]
    assert not peer.reading


async def test_who_discards_while_taking_gets_no_more() -> None:
    taken: list[int] = []
    loop = asyncio.get_running_loop()

    def take(items: Sequence[int]) -> None:
        taken.extend(items)
        portions.discard()

    portions: Portions[int] = Portions(loop, take, MOST)
    portions.put(range(2 * MOST))
    await asyncio.sleep(0)
    assert taken == [0, 1, 2]


async def test_at_the_end_all_that_waits_is_taken_at_once_and_only_once() -> None:
    peer = Peer()
    peer.portions.put(range(4 * MOST + 1))
    await peer.next()
    peer.portions.finish()
    assert peer.items == list(range(4 * MOST + 1))
    await peer.next()
    peer.portions.finish()
    assert peer.items == list(range(4 * MOST + 1))


async def test_after_a_portion_with_a_pause_the_next_waits_and_nothing_is_read() -> None:
    peer = Peer(pauses=[0.0, 3600.0])
    peer.portions.put(range(4 * MOST))
    for _ in range(5):
        await peer.next()
    assert peer.items == list(range(2 * MOST))
    assert not peer.reading


async def test_the_pause_after_the_last_portion_holds_up_what_comes_next() -> None:
    peer = Peer(pauses=[0.001, 0.0])
    peer.portions.put(range(MOST))
    assert peer.items == [0, 1, 2]
    assert not peer.reading
    peer.portions.put([MOST])
    await peer.next()
    await peer.until_read()
    assert peer.items == [0, 1, 2, 3]


async def test_a_pause_of_which_nothing_came_ends() -> None:
    peer = Peer(pauses=[0.001])
    peer.portions.put(range(MOST))
    await peer.until_read()
    peer.portions.put([MOST])
    assert peer.items == [0, 1, 2, 3]
    assert peer.reading


async def test_what_is_discarded_in_a_pause_is_never_taken() -> None:
    peer = Peer(pauses=[0.001])
    peer.portions.put(range(2 * MOST))
    peer.portions.discard()
    await asyncio.sleep(0.01)
    assert peer.items == [0, 1, 2]


async def test_without_a_source_it_does_the_same() -> None:
    taken: list[int] = []
    portions: Portions[int] = Portions(asyncio.get_running_loop(), taken.extend, MOST)
    portions.put(range(MOST + 1))
    assert taken == [0, 1, 2]
    await asyncio.sleep(0)
    assert taken == [0, 1, 2, 3]
