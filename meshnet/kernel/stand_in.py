"""The process that stands in, outside a container, for a command inside. Standard library only.

Loaded by launcher.py, which runs as a script, from the file beside it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import sys
import termios
from collections.abc import Callable
from typing import NoReturn

# Signals that are about a process itself are not passed on.
_OWN = {
    *(signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT, signal.SIGCHLD, signal.SIGSEGV),
    *(signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP, signal.SIGABRT),
    *(signal.SIGSYS, signal.SIGPIPE),
}


# The first process of a container ends last, after those that it takes along.
_ENDING_SECONDS = 0.3


def passed_on() -> set[int]:
    """The signals that the command gets from its stand-in."""
    return {int(number) for number in signal.valid_signals()} - _OWN


def stand_in(child: int, container: int, passed: set[int]) -> NoReturn:
    """Pass signals on and stop when the child stops, until it ends; then end as it did.

    Stopping is the child's to begin: it may handle Ctrl-Z, and as long as it has not stopped, it
    could still read what is typed to the shell that our own stop hands the terminal to.

    Args:
        container: a pidfd of the container's first process.
        passed: the signals to pass on; they and SIGCHLD are blocked.
    """
    restore = _terminal()
    while True:
        info = signal.sigwaitinfo({*passed, signal.SIGCHLD})
        if info.si_signo == signal.SIGCHLD:
            pid, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
            if pid and os.WIFSTOPPED(status):
                _stop_of(os.WSTOPSIG(status))
                # A shell in there is of another process group than the one that was continued.
                os.kill(child, signal.SIGCONT)
            elif pid:
                break
        elif info.si_code <= 0:  # the terminal's own (SI_KERNEL) have reached the child too
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, info.si_signo)
    restore(os.WIFSIGNALED(status))
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL and select.select([container], [], [], _ENDING_SECONDS)[0]:
        print("meshnet: the instance has ended, and with it the command", file=sys.stderr)
        os._exit(128 + signal.SIGKILL)
    if code < 0:
        _die_of(-code)
    os._exit(code)


def _stop_of(number: int) -> None:
    """Stop by a signal, as the child did, until somebody continues us."""
    os.kill(os.getpid(), number)  # blocked yet: the terminal's own and this one are one stop
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _die_of(number: int) -> NoReturn:
    """End by a signal, as the child did: a shell's loop ends by Ctrl-C only then."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _terminal() -> Callable[[bool], None]:
    """What puts the terminal back: to our process group, and its modes where the child was killed.

    A shell in the container makes a group of its own the terminal's, and cannot name ours (it is
    in another PID namespace) to give it back.
    """
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
        if os.tcgetpgrp(terminal) != os.getpgrp():
            return lambda killed: None
        modes = termios.tcgetattr(terminal)
    except (OSError, termios.error):
        return lambda killed: None

    def restore(killed: bool) -> None:
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        with contextlib.suppress(OSError, termios.error):
            if os.tcgetpgrp(terminal) != os.getpgrp():
                os.tcsetpgrp(terminal, os.getpgrp())
            if killed:
                termios.tcsetattr(terminal, termios.TCSADRAIN, modes)

    return restore
