"""A value made from files, made again when they were replaced."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from meshnet.model.errors import InputError

T = TypeVar("T")
log = logging.getLogger("meshnet")


class Fresh(Generic[T]):
    """What certificate files say: whoever renews them only replaces them (by rename)."""

    def __init__(self, files: Sequence[str], build: Callable[[], T]) -> None:
        """Make the first one.

        Args:
            files: paths; the first names them all in errors.
            build: from their content; raises OSError, ValueError or InputError.

        Raises:
            InputError: the files do not allow it.
        """
        self._files, self._build, self._said = files, build, ""
        self._lock = threading.Lock()
        try:
            self._stamp = self._stamp_of_now()
            self._value = build()
        except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
            raise InputError(f"cannot use certificate {files[0]}: {exc}") from exc

    def get(self) -> T:
        """The value of now; from any thread.

        Files that do not fit together (a key that came before its certificate) leave the last
        value in use until they do.
        """
        with self._lock:
            try:
                if (stamp := self._stamp_of_now()) != self._stamp:
                    self._value, self._stamp = self._build(), stamp
                    log.info("took over %s", self._files[0])
                    self._said = ""
            except (OSError, ValueError, InputError) as exc:
                if (text := str(exc)) != self._said:  # not at every handshake
                    log.warning("the certificate before stays: %s: %s", self._files[0], text)
                    self._said = text
            return self._value

    def _stamp_of_now(self) -> tuple[tuple[int, int, int], ...]:
        found = [os.stat(path) for path in self._files]
        return tuple((s.st_ino, s.st_mtime_ns, s.st_size) for s in found)
