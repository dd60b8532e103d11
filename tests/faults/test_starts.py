"""Starts, exits and deaths of backends in every order: always one, and everybody reaches it."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from mux.failpoints import SITES
from mux.limits import ATTACH_SECONDS
from tests.faults.support import FULL, STAMP, Attachers, Watch, lives_of, overlaps, report, served, slowest, times
from tests.support.processes import eventually, running
from tests.support.runtime import Runtime
from tests.support.session import CLIENT, Failed

OF_THE_EXIT = [site for site in SITES if site.startswith("exit.")]
OF_A_RELAY = "shim.line"
NO_CALL_OF_THE_SYSTEM = (OF_A_RELAY, "backend.welcome", "backend.out")
SESSIONS = 100
PROMISED_SECONDS = 2.0
BOUND = PROMISED_SECONDS if FULL else ATTACH_SECONDS
"""Seconds that an attach may take; what is promised is asserted where it is measured often, and else that it ended."""
START_BOUND = 2 * BOUND
"""Seconds for a whole start: interpreters and the server as well, while all other sessions attach anew."""
STUBBORN = [sys.executable, str(Path(__file__).with_name("hostile.py")), "--stubborn"]
PAUSE = 0.6
"""Seconds; long enough that a backend without grace is left alone now and then, and some arrive while it goes."""


def test_a_hundred_sessions_that_start_at_once_share_one_backend_and_one_server(runtime: Runtime, lives: Path) -> None:
    rounds = times(1, 50)
    taken: list[float] = []
    for _ in range(rounds):
        before = lives_of(lives)
        with Watch(runtime.socket) as watch:
            sessions = [runtime.session(*STAMP, str(lives)) for _ in range(SESSIONS)]
            begun = time.monotonic()
            numbers = [session.begin("initialize", {"protocolVersion": "2025-11-25"}) for session in sessions]
            for session, number in zip(sessions, numbers, strict=True):
                session.result(number)
                taken.append(time.monotonic() - begun)
            assert lives_of(lives) == before + 1
            for session in sessions:
                session.end_input()
            for session in sessions:
                assert session.wait() == 0
                session.close()
            assert not watch.overlaps
            assert len(watch.seen) == 1
        runtime.sessions.clear()
        eventually("the backend has left", lambda: not runtime.backends())
    assert not overlaps(lives)
    assert max(taken) < BOUND
    report(f"{rounds} rounds of {SESSIONS} cold starts at once; {slowest(taken)} after the last was spawned")


@pytest.mark.parametrize("delay", [0.0, 0.003])
def test_every_attach_to_a_backend_that_keeps_leaving_succeeds(runtime: Runtime, lives: Path, delay: float) -> None:
    workers, rounds = 3, times(12, 2000)
    environment = {"MUX_FAILPOINTS": ",".join(f"{site}=delay:{delay}" for site in OF_THE_EXIT)} if delay else {}
    attachers = Attachers(runtime, lives)
    with Watch(runtime.socket) as watch:
        attachers.start(workers, rounds=rounds, pause=PAUSE, environment=environment)
        taken = attachers.results(3600)
    assert len(taken) == workers * rounds
    assert max(taken) < BOUND
    assert len(watch.seen) >= workers * rounds // 10, "they do not leave"
    assert not watch.overlaps
    assert not overlaps(lives)
    report(f"{slowest(taken)}; backends seen {len(watch.seen)}, servers {lives_of(lives)}; exit delay {delay} s")


def test_what_an_attacher_has_told_counts_though_it_is_killed(runtime: Runtime, lives: Path) -> None:
    """Else the slowest attaches might be missing: those before a death."""
    attachers = Attachers(runtime, lives)
    attachers.keep(1)
    eventually("it attaches for the second time", lambda: lives_of(lives) >= 2)
    attachers.kill()
    assert attachers.results()
    attachers.heal()


@pytest.mark.parametrize("site", [site for site in SITES if site != OF_A_RELAY])
def test_a_death_at_any_place_stops_nobody_else(runtime: Runtime, lives: Path, site: str) -> None:
    """Starters or backends are killed there. All others reach a backend, and there is only ever one."""
    deaths = times(1, 200)
    token = runtime.directory / "token"
    attachers = Attachers(runtime, lives)

    def died() -> bool:
        attachers.keep(2, pause=0.1, environment={"MUX_FAILPOINTS": f"{site}=kill:{token}"})
        return not token.exists()

    with Watch(runtime.socket) as watch:
        for _ in range(deaths):
            token.touch()
            eventually("somebody has died there", died, seconds=60)
            before = lives_of(lives)
            eventually("others get through", lambda before=before: died() and lives_of(lives) > before, seconds=60)
        taken = attachers.end()
    assert len(taken) >= deaths
    assert max(taken) < BOUND
    assert not watch.overlaps
    attachers.heal()
    assert not overlaps(lives)
    report(f"{deaths} deaths at {site}: {slowest(taken)}; servers {lives_of(lives)}")


@pytest.mark.parametrize("site", [site for site in SITES if site not in (*OF_THE_EXIT, *NO_CALL_OF_THE_SYSTEM)])
def test_an_error_of_the_system_at_any_place_costs_no_session_its_server(runtime: Runtime, site: str) -> None:
    """Shared, or run directly where a shim can not even begin; and soon everybody is served by a backend again."""
    runtime.grace = 5.0
    token = runtime.directory / "token"
    token.touch()
    environment = {"MUX_FAILPOINTS": f"{site}=error:{token}"}
    first = runtime.session(environment=environment)
    try:
        first.initialize()
    except Failed:  # the server could not be started: the host was told, and may ask again
        first.initialize()
    first.request("tools/list")
    assert not token.exists()

    def shared() -> bool:
        session = runtime.ready(environment=environment)
        return session.pid() != session.child.pid and session.call("echo", text="on") == "on"

    eventually("the next session is shared", shared)
    assert first.call("echo", text="on") == "on"


def test_a_shim_that_dies_while_it_reads_takes_nobody_along(runtime: Runtime) -> None:
    token = runtime.directory / "token"
    other = runtime.ready()
    backend = runtime.backend()
    for _ in range(times(3, 200)):
        victim = runtime.ready(environment={"MUX_FAILPOINTS": f"{OF_A_RELAY}=kill:{token}"})
        token.touch()
        victim.begin("tools/list")
        assert victim.wait() == -signal.SIGKILL
        victim.close()
        runtime.sessions.remove(victim)
        assert other.call("echo", text="on") == "on"
    eventually("one session is left", lambda: len(runtime.status()["sessions"]) == 1)
    assert runtime.backend() == backend


@pytest.mark.parametrize("site", [site for site in OF_THE_EXIT if site != "exit.begun"])
def test_an_exit_goes_on_whatever_the_system_refuses_it(runtime: Runtime, lives: Path, site: str) -> None:
    attachers = Attachers(runtime, lives)
    attachers.start(1, environment={"MUX_FAILPOINTS": f"{site}=error"})
    attachers.results()
    runtime.expect_empty()


@pytest.mark.parametrize("signals", [[signal.SIGKILL], [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]])
def test_attaches_among_random_signals_all_succeed(
    runtime: Runtime, lives: Path, signals: list[signal.Signals]
) -> None:
    """They hit backends at random, in their start and their exit too; who attaches never fails and never meets two."""
    workers, rounds = 4, times(20, 1250)
    attachers = Attachers(runtime, lives)
    random_ = random.Random(7)
    kills = 0
    done = threading.Event()

    def reap() -> None:
        """Two deaths in a row at any moment of a life, then wait for somebody to get through."""
        nonlocal kills
        served = -1
        while not done.wait(random_.uniform(0.0, 0.5)):
            if kills % 2 == 0 and served == lives_of(lives):
                continue
            served = lives_of(lives)
            for pid in watch.now():
                try:
                    os.kill(pid, random_.choice(signals))
                    kills += 1
                except ProcessLookupError:
                    continue

    with Watch(runtime.socket) as watch:
        killer = threading.Thread(target=reap)
        attachers.start(workers, rounds=rounds, grace=0.2, pause=0.1)
        killer.start()
        try:
            taken = attachers.results(3600)
        finally:
            done.set()
            killer.join()
    assert len(taken) == workers * rounds
    assert max(taken) < BOUND
    assert kills >= workers * rounds // 25, "hardly anything was hit"
    assert not watch.overlaps
    attachers.heal()
    assert not overlaps(lives)
    report(f"{slowest(taken)}; {kills} times {signals[0].name} or the like")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_a_backend_that_starts_costs_no_session(runtime: Runtime, number: signal.Signals) -> None:
    session = runtime.session(environment={"MUX_FAILPOINTS": "backend.reaped=delay:1"})
    begun = session.begin("initialize", {"protocolVersion": "2025-11-25"})
    eventually("it is about to be there", (runtime.directory / "s.log").exists)
    first = runtime.backend()
    first.send_signal(number)
    session.result(begun)
    assert session.pid() != session.child.pid
    assert runtime.backend() != first


def test_a_newcomer_to_a_backend_that_stands_still_joins_it_when_that_goes_on(runtime: Runtime) -> None:
    """Slow is not dead."""
    first = runtime.ready()
    backend = runtime.backend()
    backend.suspend()
    try:
        newcomer = runtime.session()
        opening = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT}
        begun = newcomer.begin("initialize", opening)
        time.sleep(3)
        assert not newcomer.answers()
        assert runtime.backend() == backend
    finally:
        backend.resume()
    newcomer.result(begun)
    assert newcomer.pid() == first.pid()
    assert runtime.backend() == backend
    assert newcomer.stderr == ""


def test_a_newcomer_waits_for_a_backend_that_takes_its_time_to_leave(runtime: Runtime) -> None:
    """Its socket is gone, and it is busy with a server that is deaf: that is not a socket that somebody took away."""
    runtime.ready(*STUBBORN)
    backend = runtime.backend()
    backend.send_signal(signal.SIGTERM)
    eventually("its socket is gone", lambda: not runtime.socket.exists())
    newcomer = runtime.ready()
    assert not running(backend.pid)
    assert (newcomer.stderr, newcomer.pid() == newcomer.child.pid) == ("", False)


@pytest.mark.parametrize("how", ["shim", "backend"])
def test_a_backend_can_be_started_again_the_moment_it_was_told_to_end(runtime: Runtime, lives: Path, how: str) -> None:
    """The shape that left ghost ports elsewhere: spawn, SIGTERM, spawn again."""
    rounds = times(5, 50)
    taken: list[float] = []
    for _ in range(rounds):
        begun = time.monotonic()
        session = runtime.ready(*STAMP, str(lives))
        taken.append(time.monotonic() - begun)
        target = runtime.backend().pid if how == "backend" else session.child.pid
        os.kill(target, signal.SIGTERM)
        if how == "shim":
            assert session.wait() == -signal.SIGTERM
    if how == "backend":
        for session in runtime.sessions:
            assert served(session)
            session.end_input()
        for session in runtime.sessions:
            assert session.wait() == 0
    assert max(taken) < START_BOUND
    assert not overlaps(lives)
    report(f"{slowest(taken)}, each after a SIGTERM to the {how}")
