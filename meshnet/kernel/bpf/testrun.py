"""Run a tc program over one packet without a network (BPF_PROG_TEST_RUN)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from meshnet.kernel.bpf import syscall

# linux/pkt_cls.h; bpf_redirect() returns the last one.
OK, SHOT, REDIRECT = 0, 2, 7
LOOPBACK = 1
_CONTEXT_BYTES = 68
_MARK, _INGRESS_IFINDEX, _IFINDEX = 8, 36, 40  # offsets in struct __sk_buff


@dataclass(frozen=True)
class TcRun:
    """A tc program's verdict, and the packet and mark as it left them."""

    verdict: int
    packet: bytes
    mark: int


def run_tc(
    program: int, packet: bytes, *, mark: int = 0, ingress_ifindex: int = 0, ifindex: int = LOOPBACK
) -> TcRun:
    """Give an Ethernet frame to a tc program as if it passed `ifindex` of this namespace.

    Raises:
        KernelError: the kernel refused, for instance a frame without an Ethernet header.
    """
    context = bytearray(_CONTEXT_BYTES)
    for offset, value in ((_MARK, mark), (_INGRESS_IFINDEX, ingress_ifindex), (_IFINDEX, ifindex)):
        struct.pack_into("<I", context, offset, value)
    done = syscall.prog_test_run(program, packet, bytes(context))
    return TcRun(done.verdict, done.packet, struct.unpack_from("<I", done.context, _MARK)[0])
