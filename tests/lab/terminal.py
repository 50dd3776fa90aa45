"""A user at a terminal: what is typed, and what comes back."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

PATIENCE = 15.0


class Terminal:
    """A program in a session of its own, with a pseudo-terminal as its controlling terminal."""

    def __init__(self, *line: str, lab: str) -> None:
        self.pid, self._fd = pty.fork()
        if not self.pid:
            os.environ["MESHNET_LAB"] = lab
            os.environ.pop("SHELL", None)
            os.execvp(line[0], line)
        self._seen = ""

    def type(self, text: str) -> None:
        """Type keys: "\\x03" is Ctrl-C, "\\x1a" is Ctrl-Z."""
        os.write(self._fd, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        """Give the window another size."""
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def echoes(self) -> bool:
        """Whether the terminal is in the mode in which it shows what is typed."""
        return bool(termios.tcgetattr(self._fd)[3] & termios.ECHO)

    def until(self, text: str) -> str:
        """Read up to `text`; what came, `text` included."""
        deadline = time.monotonic() + PATIENCE
        while text not in self._seen:
            ready, _, _ = select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no {text!r} in {self._seen!r}"
            try:
                self._seen += os.read(self._fd, 4096).decode(errors="replace")
            except OSError as exc:
                raise AssertionError(f"ended; no {text!r} in {self._seen!r}") from exc
        found, _, self._seen = self._seen.partition(text)
        return found + text

    def status(self) -> int:
        """Wait for its end; exit status, -N for signal N."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if select.select([self._fd], [], [], 0.02)[0]:
                with contextlib.suppress(OSError):
                    os.read(self._fd, 4096)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
        raise AssertionError("it has not ended")

    def close(self) -> None:
        """End it, whatever it does."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._fd)


MESHNET = (sys.executable, "-m", "meshnet.cli.main")
