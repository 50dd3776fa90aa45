"""Packet sockets (packet(7)) in network namespaces: what passes an interface, and sending there."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meshnet.kernel import netns as namespaces
from meshnet.model.errors import KernelError, NotFound

# linux/if_packet.h, asm/socket.h, linux/if_ether.h
_ETH_P_ALL = 0x0003
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_AUXDATA = 263, 6, 8
_PACKET_OUTGOING = 4
_SO_TIMESTAMPNS, _SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 35, 26, 33
_TIMESPEC = struct.Struct("@ll")
_INSTRUCTION = struct.Struct("=HBBI")
_CONTROL_BYTES = 128
RECEIVE_BYTES = 32 * 1024 * 1024

Filter = Sequence[tuple[int, int, int, int]]  # classic BPF: code, jt, jf, k


@dataclass(frozen=True)
class Frame:
    """A frame as an interface had it.

    Attributes:
        time_ns: CLOCK_REALTIME, by the kernel.
        outgoing: sent by the interface's namespace, not received.
        length: bytes on the wire; `data` may be cut.
    """

    time_ns: int
    outgoing: bool
    length: int
    data: bytes


class Tap:
    """What passes one interface from now on. Owner: `close()`."""

    def __init__(
        self,
        netns: str | Path | None,
        ifname: str,
        program: Filter = (),
        snaplen: int = 262_144,
    ) -> None:
        """Begin; the filter is on before the first frame.

        Raises:
            NotFound: there is no such namespace or interface.
            KernelError: the kernel refused.
        """
        self._loopback = ifname == "lo"
        self._buffer = bytearray(snaplen)
        self._socket = namespaces.run(netns, lambda: _open(ifname, program))
        self._dropped = 0

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def read(self, most: int = 4096) -> list[Frame]:
        """Frames that have come, oldest first; at most so many."""
        frames: list[Frame] = []
        while len(frames) < most:
            try:
                size, control, _, address = self._socket.recvmsg_into(
                    [self._buffer], _CONTROL_BYTES, socket.MSG_DONTWAIT
                )
            except BlockingIOError:
                break
            except OSError as exc:
                if exc.errno == errno.ENETDOWN:  # said once; the interface may come up again
                    continue
                raise
            outgoing = address[2] == _PACKET_OUTGOING
            # Loopback shows each packet twice, as it leaves and as it arrives.
            if not (self._loopback and outgoing):
                time_ns, length = _ancillary(control)
                frames.append(Frame(time_ns, outgoing, length, bytes(self._buffer[:size])))
        return frames

    def dropped(self) -> int:
        """Frames the kernel had no room for, since the beginning."""
        raw = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self._dropped += struct.unpack("=II", raw)[1]  # reading resets it
        return self._dropped

    def close(self) -> None:
        """End."""
        self._socket.close()


def send(netns: str | Path | None, ifname: str, frame: bytes) -> None:
    """Send an Ethernet frame out of an interface, as it is.

    Raises:
        NotFound: there is no such namespace or interface.
        KernelError: the kernel refused, e.g. a frame that is too long.
    """

    def do() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as s:
            s.bind((ifname, 0))
            s.send(frame)

    _translated(netns, ifname, do)


def send_ip(netns: str | Path | None, packet: bytes, destination: str) -> None:
    """Send an IPv4 packet with its header as given; the namespace routes it. Raises: as `send`."""

    def do() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as s:
            s.sendto(packet, (destination, 0))

    _translated(netns, "its route", do)


def _translated(netns: str | Path | None, what: str, do: object) -> None:
    def work() -> None:
        try:
            do()  # type: ignore[operator]
        except OSError as exc:
            raise _error(what, exc) from exc

    namespaces.run(netns, work)


def _error(ifname: str, exc: OSError) -> Exception:
    if exc.errno == errno.ENODEV:
        return NotFound(f"no interface {ifname}")
    return KernelError(f"cannot use {ifname}: {exc.strerror}", exc.errno or 0)


def _open(ifname: str, program: Filter) -> socket.socket:
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0: deaf until bound
    try:
        s.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        s.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        with contextlib.suppress(OSError):
            s.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BYTES)
        if program:
            code = b"".join(_INSTRUCTION.pack(*row) for row in program)
            buffer = ctypes.create_string_buffer(code, len(code))
            fprog = struct.pack("HL", len(program), ctypes.addressof(buffer))
            s.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
        s.bind((ifname, _ETH_P_ALL))
    except OSError as exc:
        s.close()
        raise _error(ifname, exc) from exc
    return s


def _ancillary(control: list[tuple[int, int, bytes]]) -> tuple[int, int]:
    """(time in ns, length on the wire)."""
    time_ns = length = 0
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            time_ns = seconds * 1_000_000_000 + nanoseconds
        elif (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
            length = struct.unpack_from("=4xI", data)[0]
    return time_ns, length
