"""etcd's gRPC API over several members: each call goes on to another member within a deadline."""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import grpc

from meshnet.model.errors import NotFound, PlatformError
from meshnet.store.gen import etcd_pb2 as pb
from meshnet.store.member_client import Member, Tls

DEADLINE_SECONDS = 6.0  # longer than an election (1 to 2 s) after an attempt that hangs
_ATTEMPT_SECONDS = 1.5
_PAUSE_SECONDS = 0.05
_ASK_SECONDS, _SILENT_SECONDS = 1.0, 4.0  # a member that hangs keeps its connections
_ELSEWHERE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
}
_REMEDY = "; raise etcd's --max-txn-ops or --max-request-bytes"


class NoAnswer(PlatformError):
    """No member answered in time: what was asked may have been done, or may be yet."""


class EtcdClient:
    """Calls are synchronous and safe from any thread."""

    def __init__(self, addresses: Sequence[str], tls: Tls | None = None) -> None:
        credentials = tls.credentials() if tls else None
        self._members = [Member(address, credentials) for address in addresses]
        self._current = 0
        self._closed = threading.Event()

    def close(self) -> None:
        """Close all connections; watches end."""
        self._closed.set()
        for member in self._members:
            member.close()

    def call(self, method: str, request: Any, deadline: float = 0.0) -> Any:
        """One call, at the member that answered last, else at the next ones.

        A call may reach etcd twice: the request has to bear that.

        Raises:
            NotFound: the lease is over.
            PlatformError: etcd refused.
            NoAnswer: no member answered within `deadline` seconds (0: the usual ones).
        """
        deadline = deadline or DEADLINE_SECONDS
        end = time.monotonic() + deadline
        while True:
            turn = self._current
            member = self._members[turn % len(self._members)]
            left = end - time.monotonic()
            try:
                return member.call(method, request, max(0.01, min(left, _ATTEMPT_SECONDS)))
            except grpc.RpcError as exc:
                error = exc
            if error.code() not in _ELSEWHERE:
                raise _translated(error) from error
            self._current = turn + 1
            if time.monotonic() + _PAUSE_SECONDS > end:
                raise NoAnswer(
                    f"etcd at {self._addresses} did not answer in {deadline:.0f} s: {_text(error)}"
                ) from error
            time.sleep(_PAUSE_SECONDS)

    @property
    def _addresses(self) -> str:
        return ",".join(member.address for member in self._members)

    def watch(self, first: bytes, end: bytes, since: int, sink: Any) -> None:
        """Hand every WatchResponse about keys in [first, end) after revision `since` to `sink`.

        It goes on over broken connections without a gap, in a thread of its own, until the sink
        is collected, `sink.respond` returns False, or the client is closed.
        """
        stream = _Stream(self, first, end, since, weakref.ref(sink))
        weakref.finalize(sink, stream.cancel)
        threading.Thread(target=stream.run, name="etcd-watch", daemon=True).start()

    def attempt(self, turn: int) -> Any:
        """The `turn`-th member's Watch call."""
        return self._members[turn % len(self._members)].watch

    def wait_closed(self, seconds: float) -> bool:
        """Whether the client was closed within that time."""
        return self._closed.wait(seconds)


class _Stream:
    def __init__(self, client: EtcdClient, first: bytes, end: bytes, since: int, sink: Any) -> None:
        self._client, self._first, self._end = client, first, end
        self._since, self._sink = since, sink
        self._call: Any = None
        self._heard = 0.0
        self._over = threading.Event()

    def cancel(self) -> None:
        self._over.set()
        if self._call is not None:
            self._call.cancel()

    def run(self) -> None:
        turn = 0
        while not self._over.is_set():
            try:
                if not self._follow(turn):
                    return
            except (grpc.RpcError, ValueError):  # ValueError: the channel is closed
                turn += 1
            if self._client.wait_closed(_PAUSE_SECONDS):
                return

    def _follow(self, turn: int) -> bool:
        create = pb.WatchCreateRequest(
            key=self._first, range_end=self._end, start_revision=self._since + 1
        )
        ended, self._heard = threading.Event(), time.monotonic()
        # A member cut off from the others must break the stream, not go silent.
        self._call = self._client.attempt(turn)(
            self._requests(pb.WatchRequest(create_request=create), ended),
            metadata=(("hasleader", "true"),),
        )
        if self._over.is_set():
            self._call.cancel()
        try:
            for reply in self._call:
                self._heard = time.monotonic()
                sink = self._sink()
                if sink is None or not sink.respond(reply):
                    return False
                del sink
                if reply.canceled:
                    break
                if reply.events:
                    self._since = reply.events[-1].kv.mod_revision
        finally:
            ended.set()
            with contextlib.suppress(grpc.RpcError):
                self._call.cancel()
        return True

    def _requests(self, create: Any, ended: threading.Event) -> Iterator[Any]:
        """What to send: the watch, then a question now and then that a member alive answers."""
        yield create
        while not ended.wait(_ASK_SECONDS):
            if time.monotonic() - self._heard > _SILENT_SECONDS:
                self._call.cancel()
                return
            yield pb.WatchRequest(progress_request=pb.WatchProgressRequest())


def _translated(error: Any) -> Exception:
    code, text = error.code(), _text(error)
    if code == grpc.StatusCode.NOT_FOUND:
        return NotFound(text)
    if "too many operations" in text or "too large" in text or "larger than max" in text:
        return PlatformError(f"etcd refused: {text}{_REMEDY}")
    return PlatformError(f"etcd refused: {text}")


def _text(error: Any) -> str:
    return str(error.details() or error.code())
