"""Every number the multiplexer is bounded by: unit, default, reason, precedent.

Plain integers and floats: the shim imports this file, so it imports nothing.
"""

KIB = 1024
MIB = 1024 * KIB

# --- lines and messages -------------------------------------------------------------------

MESSAGE_BYTES = 64 * MIB
"""Largest JSON-RPC message, bytes. TypeScript clients give up at 10 MiB; images and files reach 50."""

MESSAGE_WARN_BYTES = 8 * MIB
"""A message above this is logged, bytes: the TypeScript SDK refuses 10 MiB."""

OVERSIZE_EDGE_BYTES = 64 * KIB
"""What is kept of each end of an oversize line, bytes: the id stands at one end or the other."""

JSON_DEPTH = 1000
"""Deepest nesting forwarded, levels. CPython's parser, in many servers, gives up near here."""

ID_BYTES = 4 * KIB
"""Longest request id or progress token of a host, bytes; real ones have under 50."""

UPSTREAM_ID_FLOOR = 1 << 20
UPSTREAM_ID_CEILING = 1 << 30
"""The first id of a generation is drawn from [floor, ceiling): later ones stay below 2^53."""

# --- sessions -----------------------------------------------------------------------------

JOURNAL_BYTES = MESSAGE_BYTES + 256 * KIB
"""Unsettled lines of one session, bytes; beyond it the shim stops reading its host. One line always fits."""

KEPT_BYTES = 1 * MIB
KEPT_LINES = 4096
"""Answered lines kept to rebuild a session, bytes and count."""

SESSION_IN_FLIGHT = 64
"""Requests of one session at the server at once; more wait their turn."""

UPSTREAM_IN_FLIGHT = 1024
"""Requests of all sessions at one server at once; more wait, round robin over sessions."""

SESSION_WAITING = 16_384
"""Requests of one session without an answer, waiting or at work; beyond it they are answered Overloaded."""

ANSWER_DIGEST_BYTES = 16
"""Digest of a server's answer to `initialize`, bytes: tells two of one server apart; each session's shim keeps one."""

EARLY_BYTES = 1 * MIB
"""Notifications of hosts that wait for a server to start, bytes; more are dropped. One has some 100."""

HOST_QUEUE_BYTES = 32 * MIB
"""Output queued for a host that does not read, bytes; beyond it that session is closed."""

HOST_SLOW_BYTES = 8 * MIB
HOST_SLOW_SECONDS = 60.0
"""A host that leaves this much unread for this long is closed."""

TOMBSTONE_SECONDS = 60.0
"""How long a finished progress token is remembered."""

CANCELLED_SECONDS = 10.0
"""How long a cancelled request without an answer may still be what the server works at, asks for and logs about.

Those that heed a cancel stop at once, and Python's never answer it. Below TURN_SECONDS: a turn must be worth waiting.
"""

TOMBSTONES = 65_536
"""How many of each are remembered of one server, the newest: some 20 MB, where a fast client would leave millions."""

# --- HELLO --------------------------------------------------------------------------------

HELLO_BYTES = 1 * MIB
HELLO_SECONDS = 5.0
"""Largest HELLO and how long its sender may take. Linux allows 2 MiB of argv and environment in all."""

MESSAGE_BYTES_CEILING = 1024 * MIB
FRAME_BYTES = MESSAGE_BYTES_CEILING + MIB
"""The most that MESSAGE_BYTES can be set to, and the largest frame payload between shim and backend, bytes.

The two may be set differently: the wire carries whatever either may be allowed, and each applies its own limit.
"""

SESSIONS = 1 << 20
"""Sessions of one backend; without a choice the number of open files is the limit."""

# --- life ---------------------------------------------------------------------------------

GRACE_SECONDS = 30.0
"""From the last session's leave to the stop of its server, and of the backend."""

IDLE_SECONDS = 15 * 60.0
"""A modern server without any work for this long is stopped; it is stateless by the specification."""

IDLE_AGAIN_SECONDS = 60.0
"""How soon a server that was not idle after all is looked at again."""

STOP_STEP_SECONDS = 2.0
"""Stop ladder: close stdin, this long, SIGTERM, this long, SIGKILL. Hosts use the same 2 s."""

DRAIN_SECONDS = 10.0
"""How long a planned exit waits for what is in flight."""

STOP_DRAIN_SECONDS = 5.0
"""The same for `mux stop`: with the whole stop ladder of a server that is deaf it is over within 10 s."""

START_SECONDS = 25.0
"""A server that has not answered `initialize` after this is given up; hosts wait 30 s."""

HANDSHAKE_HOLD_SECONDS = 5.0
"""No message waits longer than this for a verdict on the server's era."""

TURN_SECONDS = 20.0
"""How long a call waits for its turn at a server that asks questions; hosts give a call 60 s and more."""

SURVEY_SECONDS = 5.0
"""How long `roots/list` waits for the slowest of several sessions."""

DISCOVER_RUN_SECONDS = 2.0
"""A server that has run this long without answering `server/discover` is taken for a legacy one that never will."""

DISCOVER_FAILED_SECONDS = 10.0
"""How long a `server/discover` waits, after its server died, for the `initialize` that tells hosts more."""

OPEN_STATE_SECONDS = 600.0
"""How long a server is kept after `input_required` or a task handle: it signs their state with a key of its own."""

RESTART_FIRST_SECONDS = 0.1
"""Back-off between restarts of a crashing server, doubling: the breaker opens before it reaches a second."""

BREAKER_FAILURES = 5
BREAKER_WINDOW_SECONDS = 60.0
BREAKER_COOL_OFF_SECONDS = 30.0
"""This many failures in the window: calls fail at once until the cool-off is over, the longest back-off there is."""

EXIT_AGAIN_SECONDS = 1.0
"""An exit that a connection cancelled is tried again after this, if no session came of it."""

REMEMBERED_KEYS = 1024
"""Base keys whose era and habits are remembered; beyond it the oldest unused one is forgotten."""

SELF_CHECK_SECONDS = 30.0
"""How often the backend compares the inodes of its socket and lock with its own, and gives free memory back."""

DURATION_CEILING_SECONDS = 365 * 86_400.0
"""A longer time in an option means this one: a year is for ever, and no timer overflows."""

# --- rendezvous ---------------------------------------------------------------------------

SUN_PATH_BYTES = 103
"""Longest socket path, bytes: macOS has 104 with the NUL, Linux 108."""

ATTACH_EMPTY_SECONDS = 2.0
ATTACH_SECONDS = 8.0
"""The attach loop's deadline: nobody there at all, and with a backend starting or busy. Hosts wait 15-30 s in all."""

ATTACH_LOST_SECONDS = 1.0
"""The same where a backend serves but its socket was taken away: long enough to tell that from one life after another,
and with the start of the server less than the 2 s within which a host that can not share has it."""

ATTACH_DRAINING_SECONDS = 24.0
"""In all while a backend says that it is draining: its DRAIN_SECONDS, two steps of its stop ladder, the next start."""

BACKOFF_FIRST_SECONDS = 0.001
BACKOFF_CEILING_SECONDS = 0.05
"""Jittered pause between attach attempts."""

FAIL_FIRST_SECONDS = 1.0
FAIL_CEILING_SECONDS = 32.0
"""How long a recorded failure to start keeps the next shims from trying, doubling."""

LISTEN_BACKLOG = 1024
"""Connections waiting for accept. The kernel caps it at net.core.somaxconn (4096 on Linux)."""

# --- shim ---------------------------------------------------------------------------------

EOF_WAIT_SECONDS = 2.0
"""At end of input with answers outstanding the shim waits this long for each further one: `printf … | mux-shim …`."""

SHIM_QUEUE_BYTES = 4 * MIB
"""Output held for a host that does not read, bytes; beyond it the shim reads no more from the backend."""

RECONNECT_CEILING_SECONDS = 5.0
"""Longest pause between two rounds of a shim that lost its backend, doubling from BACKOFF_CEILING_SECONDS."""

RETURN_SECONDS = 3 * RECONNECT_CEILING_SECONDS
"""After `mux start` a backend waits at least so long for sessions: two jittered rounds of a shim that was stopped."""

BACKEND_DEATHS = 3
BACKEND_DEATHS_SECONDS = 60.0
CRASH_LOOP_FIRST_SECONDS = 1.0
CRASH_LOOP_CEILING_SECONDS = 30.0
"""So many backends that died under a session in the window are a crash loop: it leaves them alone for longer each time,
and answers requests itself meanwhile; hosts wait 60 s for a call."""

READ_BYTES = 256 * KIB
"""One read of a pipe or socket, bytes."""

SMALL_READ_BYTES = 32 * KIB
"""A shim's read while little comes, bytes: malloc serves it without the kernel. After a full one: READ_BYTES."""

SESSION_TURN_LINES = 16
SERVER_TURN_LINES = 128
"""Lines of one session, and of one server, handled before everybody else has a turn: 0.3 ms, and 1.5. Answers go first:
a queue in a server's output holds up all its sessions. Fewer are no fairer, since floods are paced, and cost writes."""

FLOOD_RATE = 8000
RATE_SECONDS = 0.02
LINE_BYTES = 16 * KIB
FEW_REQUESTS = 2
PACED_RATE = 1000
PACED_SECONDS = 0.25
MODEST_SECONDS = 1.0
"""Who says more lines a second than FLOOD_RATE, over RATE_SECONDS, with more than FEW_REQUESTS open, floods: 160 lines
do. So many bytes of a line count as one more. Until MODEST_SECONDS after somebody spoke who had no more than those few
open, PACED_RATE is taken of it, PACED_SECONDS later at most: no person or model is as fast, and two cores have room for
both."""

SERVER_PIPE_BYTES = 256 * KIB
"""Room in each pipe of a server, where the system lets one choose: a megabyte passes in four turns instead of sixteen.
Linux counts the pipes of all of a user's programs and makes new ones tiny from 64 MiB on: this leaves most of that."""

HEAP_BLOCK_BYTES = 4 * MIB
HEAP_KEPT_BYTES = 8 * MIB
"""The largest block that comes from the heap, and the most that the heap keeps when it is free. glibc would give every
large message back to the kernel at once and have each page of the next one faulted in again: half of what it costs."""

HEAP_SPARE_BYTES = 1 * MIB
"""A backend that has not grown by so much has nothing to give back that is worth the means: 0.2 MB and 5 ms, once."""

VIEW_BYTES = 32 * KIB
"""From here on a line is cut and joined by views, and written piece by piece: below, a copy costs less than a view."""

# --- park ---------------------------------------------------------------------------------

PARK_SECONDS = 10.0
"""A session without a line either way for this long is parked: agents think for seconds, people for minutes."""

PARK_SCANS = 4
PARK_AT_ONCE = 32
"""How often in that time the backend looks who is quiet, and how many it asks then: an exec each costs 2 ms of CPU."""

PARK_ANSWER_SECONDS = 1.0
"""How long a shim waits for the backend to take its stdin; it reads nothing meanwhile. Else it stays awake."""

PARK_UPGRADE_SECONDS = 300
"""How long a parked session that is woken waits for an interpreter and a package that are being replaced."""

# --- logs ---------------------------------------------------------------------------------

LOG_BYTES = 10 * MIB
LOG_FILES = 3
"""Size of one log file and how many are kept, per upstream and for the backend."""

STDERR_TAIL_LINES = 20
STDERR_TAIL_BYTES = 4 * KIB
"""How much of a server's last stderr goes into an error."""

# --- operator commands --------------------------------------------------------------------

CONTROL_SECONDS = 5.0
"""How long `mux status` waits for a backend's answer."""

DOCTOR_LOG_BYTES = MIB
DOCTOR_ERRORS_SECONDS = 86_400.0
"""How much of a backend's log `mux doctor` searches for errors, and how old they may be. As much disk must be free."""

SESSION_DESCRIPTORS = 7
"""Open files that a session takes in its backend with a server of its own: its socket, the server's pipes, pidfd."""

TOP_SECONDS = 2.0
TOP_LEAST_SECONDS = 0.5
"""How often `mux top` asks, and the most often that it may: an answer costs the backend a look at every process."""

LOG_LINES = 100
"""How much of the end of a log `mux logs` prints."""

LOG_POLL_SECONDS = 0.25
"""How often `mux logs --follow` looks for more; nothing portable reports that a file has grown."""

SUCCESSION_SECONDS = 20.0
"""How long `mux restart` and `mux stop` wait for a backend's end, and sessions for the one that `mux restart` starts:
a drain and a stop ladder, and a little more."""

REUNION_SECONDS = 10.0
"""How long `mux restart` watches the sessions come back."""

PRUNE_AGE_SECONDS = 60.0
"""`mux prune` leaves alone what has run, or has been unused, for less: it may be about to be used."""

CONFIG_BYTES = 64 * MIB
CONFIG_DEPTH = 200
"""Largest configuration file of a host that `mux install` edits, bytes, and its deepest nesting, levels.

Some hosts keep their history in it: tens of megabytes are seen, more than ten levels are not."""

CONFIG_BACKUPS = 10
"""Backups kept of each configuration file, the newest."""

DIFF_CONTEXT_LINES = 3
DIFF_LINE_CHARACTERS = 300
"""Unchanged lines around a change, as `diff -u` has them; of a longer line only what is around the change is shown."""

DEMO_SESSIONS = 26
"""Sessions of `mux demo`: the number of copies in the report that this program answers."""

DEMO_GRACE_SECONDS = 1.0
"""Grace of the demo's own backend: long enough to bridge two sessions, short enough to watch it leave."""

DEMO_ANSWER_SECONDS = 60.0
"""How long the demo waits for one answer of a server; a first `npx` may download it."""

DEMO_CALLS = 20
DEMO_CALL_SECONDS = 1.0
"""Calls per session whose round trip is measured, and when to stop early with a slow tool."""

# --- backend ------------------------------------------------------------------------------

DRAIN_RETRY_MS = 200
"""A REFUSE(draining) asks to come back after this, milliseconds; most drains end at once."""

ACCEPT_PAUSE_SECONDS = 0.1
"""Out of descriptors, the backend accepts nobody for this long instead of spinning on a ready listener."""

DESCRIPTORS_RESERVED = 64
"""Sessions are refused when so few descriptors are left: a server takes six, its start three more."""

OUTPUT_END_SECONDS = 0.5
"""How long a server's stdout is read after its exit: a grandchild may hold the pipe open for ever."""

TREE_POLL_SECONDS = 0.02
"""How often a stop looks whether the last descendants are gone; nothing reports the end of a process not our child."""

CLOSE_SECONDS = 5.0
"""A closing connection may flush its last bytes for this long."""

EXITED_STDERR_FILES = 16
"""Stderr logs of servers that are gone, kept while the backend lives, files."""

RECORD_BYTES = MIB
"""A longer record of the predecessor is not ours, bytes; a thousand processes take 40 KiB."""

# --- what a user can change ---------------------------------------------------------------

CONFIGURABLE: dict[str, tuple[float, float]] = {
    "message_bytes": (256 * KIB, MESSAGE_BYTES_CEILING),
    "kept_bytes": (KIB, 256 * MIB),
    "kept_lines": (1, 1 << 20),
    "session_in_flight": (1, 1 << 20),
    "upstream_in_flight": (1, 1 << 20),
    "session_waiting": (1, 1 << 24),
    "flood_rate": (PACED_RATE, 1 << 30),
    "host_queue_bytes": (64 * KIB, MESSAGE_BYTES_CEILING),
    "host_slow_bytes": (64 * KIB, MESSAGE_BYTES_CEILING),
    "host_slow_seconds": (0.1, 86_400.0),
    "hello_bytes": (16 * KIB, 64 * MIB),
    "hello_seconds": (0.1, 60.0),
    "sessions": (1, 1 << 20),
    "backend_deaths": (1, 1 << 20),
    "self_check_seconds": (0.1, 3600.0),
}
"""Name in `[limits]` → the least and the most. Whoever uses one reads it as `limits.NAME`, never by its own name."""


def configure(values: dict[str, int | float]) -> None:
    """Set limits of this process, checked values by their names in CONFIGURABLE. Once, before anything is served."""
    for name, value in values.items():
        globals()[name.upper()] = value
    globals()["JOURNAL_BYTES"] = globals()["MESSAGE_BYTES"] + 256 * KIB
