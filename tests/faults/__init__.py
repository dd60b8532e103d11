"""Whatever dies, hangs, lies or is missing: nothing is lost, and nothing is left.

    pytest tests/faults                          fast, and a part of every run
    MUX_FAULTS=full pytest tests/faults          as often as promised: hours, of which the soak is one
    MUX_FAULTS_SOAK=600 MUX_FAULTS=full pytest tests/faults -k soak
                                                 the soak for so many seconds: from 600 on its speed is asserted, from
                                                 1,800 on what it says about memory
    MUX_TEST_PARK_AFTER=0.05 pytest tests/faults
                                                 every session sleeps whenever it is quiet; with both profiles

-rP shows what each test counted and measured.

    starts      100 sessions at once                                               1 round    50 rounds
                attaches to a backend that keeps leaving, and with 3 ms a step   2 * 36     2 * 6,000
                SIGKILL at each of 28 failpoints                                  1 each   200 each
                attaches among random SIGKILLs, and other signals                2 * 80     2 * 5,000
                SIGTERM and a start at once, of a shim, of a backend              2 * 5      2 * 50
                an error of the system at each failpoint; at each step of the exit        once each
    load        SIGKILL of the backend, 8 sessions with 8 requests each                6       500
                SIGKILL of the server, the same                                        4       500
                SIGKILL of shims with calls in flight                                 40     1,000
                soak: 20 operations a second                                        12 s       1 h
    slow        a stopped host under a flood of notifications       6 s, 8 MiB/s    120 s, 1 MiB/s
                `mux stop` with a session that can not be told, in a storm, dropped before, asleep: once each
    servers     a line without end                                            200 MiB     1 GiB
                output on stderr                                               40 MiB   100 MiB
                deaf to EOF and SIGTERM, families in sessions of their own, garbage, half lines, wrappers: once each
    scarcity    sessions with 64 descriptors                                       60       200
                no space, read-only, foreign, open to others, too long a path, no Unix sockets: once each
    operator    restarts under load, of each kind                                   2        50
                rounds with state files that are rewritten all the time             4       200
                stop, start, upgrades, crash loops, lost sockets, locks and directories: once each
    prune       old and young, empty backends, another version, leftovers that are deaf or not: once each
    restored    lists, subscriptions, levels and listens after each kind of replacement, awake and asleep: once each
    leftovers   a host's whole cgroup, a logout, forged records: once each
    suite       a run that fails, is interrupted, timed out or killed half-way: once each

Measured in the full form on 2026-11-22, on two cores that other jobs used as well:

    50 * 100 sessions at once                     one backend, one server each time; all served within 0.6 s of the
                                                  last one's spawn
    2 * 6,000 attaches to 4,587 backends that     none failed; slowest 1.4 s, and 0.7 s with 3 ms a step
      leave
    5,000 attaches among 500 SIGKILLs             none failed; slowest 0.9 s, and 1.1 s among 578 other signals
    200 SIGKILLs at each of 28 failpoints         none failed; slowest 1.8 s
    50 + 50 SIGTERMs and starts at once           none failed
    500 SIGKILLs of the backend                   65,577 requests, each answered once and right, no effect twice
    500 SIGKILLs of the server                    64,930 requests, the same
    1,000 SIGKILLs of shims                       every call cancelled; 22 descriptors before and after
    120 s of 1 MiB/s to a stopped host            dropped; p99 of others 10.8 ms before, 10.8 meanwhile (with another
                                                  server 15.1 and 6.3); the backend grew by 37 MiB, stopped in 0.5 s
    soak of one hour, 72,000 operations           139,363 answers, each once and right, 108 of them errors of killed
                                                  servers; 16.25 MB written to from first to last, 0.03 +- 0.01 MB/h
                                                  over the last two thirds
    1 GiB in one line                             the backend grew by 64 MiB
    64 descriptors, 200 sessions                  17 shared, 183 run directly
    50 restarts of each kind under load           33,932 requests, no error
    200 rounds with rewritten state files         nobody noticed
"""
