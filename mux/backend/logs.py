"""What the backend writes down: its own log, one line per event, and the stderr of each server.

`NAME.log` stands beside the socket and stays after the backend's exit: it is what a person reads after a failure. The
servers' `NAME-NUMBER-COMMAND.err` files, one for all generations of a server, live as long as the backend, the newest
few of those that are gone included; they are removed at its exit, and what a killed backend left is removed at the next
start. All are 0600 and bounded.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import logging
import os
import re
import stat
import sys
import time
from typing import ClassVar

from mux.errors import RendezvousError
from mux.limits import EXITED_STDERR_FILES, LOG_BYTES, LOG_FILES, STDERR_TAIL_BYTES, STDERR_TAIL_LINES

_LOGGER = logging.getLogger("mux.backend")
_PLAIN = re.compile(r"[\w./:@%+,~-]+\Z")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

Value = str | int | float | None
StrPath = str | os.PathLike[str]


class _Line(logging.Formatter):
    """`TIME LEVEL EVENT name=value …`; UTC, milliseconds; a traceback follows on lines of its own."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - logging's
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{stamp}.{int(record.msecs):03d}Z"


class _Terminal(logging.Formatter):
    """The same for a person who watches: local time, the event in a column, and what is not well marked."""

    _MARKS: ClassVar = {logging.WARNING: ("!", "33"), logging.ERROR: ("!!", "31")}

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        name, _, fields = record.getMessage().partition(" ")
        mark, colour = self._MARKS.get(record.levelno, ("", ""))
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{clock} {mark:2} {name:19} {fields}".rstrip()
        if self._colour and colour:
            line = f"\x1b[{colour}m{line}\x1b[0m"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _File(logging.Handler):
    """Appends to `path`, rotating. A line that the disk does not take is lost."""

    def __init__(self, path: StrPath) -> None:
        """Raises OSError."""
        super().__init__()
        self.path = os.fspath(path)
        self._file = _Rotating(path)

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            self._file.write(f"{self.format(record)}\n".encode(errors="backslashreplace"))


def open_log(path: StrPath | None) -> None:
    """Send the log to `path`, rotating, or to stderr. Raises RendezvousError if that is no file that can be written."""
    handler: logging.Handler
    if path is None:
        handler = logging.StreamHandler()
        handler.setFormatter(_Terminal(colour=sys.stderr.isatty() and not os.environ.get("NO_COLOR")))
    else:
        try:
            handler = _File(path)
        except OSError as error:
            raise RendezvousError(f"cannot log to {path}: {error.strerror}") from error
        handler.setFormatter(_Line("%(asctime)s %(levelname)s %(message)s"))
    logging.raiseExceptions = False
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)


def silence() -> None:
    """For a command that uses a part of the backend: what that part would log goes nowhere."""
    _LOGGER.addHandler(logging.NullHandler())
    _LOGGER.propagate = False


def written_to() -> str | None:
    """The file that the log goes to; None on a terminal."""
    return next((handler.path for handler in logging.root.handlers if isinstance(handler, _File)), None)


def event(level: str, name: str, /, **fields: Value) -> None:
    """One line. Never raises; no field holds a payload or the value of an environment variable."""
    words = [name, *(f"{key}={_word(value)}" for key, value in fields.items() if value is not None)]
    _LOGGER.log(_LEVELS.get(level, logging.INFO), "%s", " ".join(words))


def failure(name: str, error: BaseException, /, **fields: Value) -> None:
    """One line about an error that should not happen, with its traceback."""
    words = [name, *(f"{key}={_word(value)}" for key, value in fields.items())]
    _LOGGER.error("%s", " ".join(words), exc_info=error)


def _word(value: Value) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if _PLAIN.match(text):
        return text
    import json  # rarely: most words are plain

    shown = json.dumps(text, ensure_ascii=False)
    return shown if shown.isprintable() else json.dumps(text)


class _Rotating:
    """Bytes appended to a file; at LOG_BYTES it becomes .1, the older ones move on, the last is dropped."""

    def __init__(self, path: StrPath) -> None:
        """Raises OSError."""
        self._path = os.fspath(path)
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(self._path, flags, 0o600)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            os.close(fd)
            raise OSError(errno.EINVAL, "it is no plain file of ours")
        self._fd, self._size = fd, found.st_size

    def write(self, data: bytes) -> None:
        """Raises OSError: the disk is full, say."""
        if self._size >= LOG_BYTES:
            names = [self._path, *(_numbered(self._path, n) for n in range(1, LOG_FILES))]
            for older, newer in reversed(list(zip(names[1:], names[:-1], strict=True))):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(newer, older)
            full = self._fd
            self._open()  # first: a number that is closed is soon somebody else's
            os.close(full)
        self._size += os.write(self._fd, data)

    def close(self) -> None:
        """Once."""
        os.close(self._fd)


def _numbered(path: str, number: int) -> str:
    return f"{path}.{number}"


class Stderr:
    """The stderr of one server: to its log, and the last of it kept for errors."""

    def __init__(self, path: StrPath) -> None:
        self.path = os.fspath(path)
        self._tail = b""
        self._file: _Rotating | None = None
        self._broken = False

    def feed(self, data: bytes) -> None:
        """Never raises and never waits for anything but the disk: without a log the server goes on."""
        self._tail = (self._tail + data)[-STDERR_TAIL_BYTES:]
        if self._broken:
            return
        try:
            if self._file is None:
                self._file = _Rotating(self.path)
            self._file.write(data)
        except OSError as error:
            self._broken = True
            event("warning", "stderr.log.failed", path=self.path, reason=error.strerror)

    def tail(self) -> str:
        """The last lines; what is no UTF-8 shows as U+FFFD."""
        return "\n".join(self._tail.decode(errors="replace").splitlines()[-STDERR_TAIL_LINES:])

    def close(self) -> None:
        """The file stays until its folder says otherwise."""
        if self._file is not None and not self._broken:
            self._file.close()
        self._broken = True


class StderrFolder:
    """The servers' stderr logs beside the socket, `stem` being its path without `.sock`."""

    def __init__(self, stem: StrPath) -> None:
        """Also removes what a killed backend left there; so the lock must be held."""
        self._stem = os.fspath(stem)
        self._gone: collections.deque[str] = collections.deque()
        self._paths: dict[int, str] = {}
        self.remove()

    def create(self, upstream: int, server: str) -> Stderr:
        """The log of a server, for its next generation; the file appears with the first byte ever."""
        name = re.sub(r"[^\w.-]", "_", server.rpartition("/")[2])[:40]
        path = self._paths[upstream] = f"{self._stem}-{upstream}-{name}.err"
        with contextlib.suppress(ValueError):
            self._gone.remove(path)
        return Stderr(path)

    def path(self, upstream: int) -> str | None:
        """Where its stderr is; None while it has written none, or long after it."""
        path = self._paths.get(upstream)
        return path if path is not None and os.path.exists(path) else None

    def retire(self, log: Stderr) -> None:
        """Its process is gone: keep the file among the newest few."""
        log.close()
        self._gone.append(log.path)
        if len(self._gone) > EXITED_STDERR_FILES:
            oldest = self._gone.popleft()
            self._paths = {number: path for number, path in self._paths.items() if path != oldest}
            self._unlink(oldest)

    def remove(self) -> None:
        """Remove every file of the folder's name."""
        folder, stem = os.path.split(self._stem)
        pattern = re.compile(re.escape(stem) + r"-\d+-[\w.-]*\.err(\.\d+)?\Z")
        with contextlib.suppress(OSError):
            for name in filter(pattern.match, os.listdir(folder)):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(folder, name))

    @staticmethod
    def _unlink(path: str) -> None:
        for name in (path, *(_numbered(path, n) for n in range(1, LOG_FILES))):
            with contextlib.suppress(OSError):
                os.unlink(name)
