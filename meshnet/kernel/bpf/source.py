"""The BPF sources: which programs there are, their text, and the hash of it all."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[3] / "bpf"
# -Wno-...: bcc's own headers and its rewritten map calls are not ours to tidy.
FLAGS = (
    "-Wall",
    "-Werror",
    "-Wno-unused-function",
    "-Wno-address-of-packed-member",
    "-Wno-macro-redefined",
)
_FORMAT = "1"
_INCLUDE = re.compile(r'^#include "([a-z0-9_]+\.h)"$', re.MULTILINE)

# linux/bpf.h: enum bpf_prog_type, enum bpf_attach_type
_SCHED_CLS, _SOCK_OPS, _SK_MSG, _SOCK_ADDR, _SOCKOPT = 3, 13, 16, 18, 25
TCX_INGRESS, TCX_EGRESS = 46, 47


@dataclass(frozen=True)
class Hook:
    """Where a program goes. Its name is its file's, and its entry function's."""

    name: str
    program_type: int
    attach_type: int

    @property
    def load_attach_type(self) -> int:
        """What BPF_PROG_LOAD wants as expected_attach_type; tc programs have none."""
        return 0 if self.program_type == _SCHED_CLS else self.attach_type


APP_HOOKS = (
    Hook("cgroup_connect4", _SOCK_ADDR, 10),
    Hook("cgroup_connect6", _SOCK_ADDR, 11),
    Hook("cgroup_sendmsg4", _SOCK_ADDR, 14),
    Hook("cgroup_sendmsg6", _SOCK_ADDR, 15),
    Hook("cgroup_bind4", _SOCK_ADDR, 8),
    Hook("cgroup_bind6", _SOCK_ADDR, 9),
    Hook("cgroup_getpeername4", _SOCK_ADDR, 29),
    Hook("cgroup_getpeername6", _SOCK_ADDR, 30),
    Hook("sockops", _SOCK_OPS, 3),
)
SIDECAR_HOOKS = (
    Hook("cgroup_getsockopt", _SOCKOPT, 21),
    Hook("sockops_sidecar", _SOCK_OPS, 3),
)
# On the map `spliced`, not on a cgroup or an interface.
SPLICE_HOOK = Hook("sk_msg", _SK_MSG, 7)
VETH_HOOKS = (
    Hook("tc_from_container", _SCHED_CLS, TCX_INGRESS),
    Hook("tc_to_container", _SCHED_CLS, TCX_EGRESS),
)
LB_HOOKS = (Hook("tc_lb", _SCHED_CLS, TCX_INGRESS),)
CELL_HOOKS = (*APP_HOOKS, *SIDECAR_HOOKS, *VETH_HOOKS, SPLICE_HOOK)
HOOKS = CELL_HOOKS + LB_HOOKS


def expand(name: str, sources: Path = SOURCES) -> str:
    """A program's text with our own headers written in, each once.

    BCC turns `map.lookup()` into a helper call in the main file only, and compiles that file under
    another path; in one piece there is neither a wrong place for a map call nor a lost header.
    """
    seen: set[str] = set()

    def include(match: re.Match[str]) -> str:
        header = match.group(1)
        if header in seen:
            return ""
        seen.add(header)
        text = (sources / "include" / header).read_text(encoding="utf-8")
        return _INCLUDE.sub(include, text)

    return _INCLUDE.sub(include, (sources / f"{name}.c").read_text(encoding="utf-8"))


def content_hash(sources: Path = SOURCES) -> str:
    """Hash of all that decides the compiled programs."""
    digest = hashlib.sha256(" ".join((_FORMAT, *FLAGS)).encode())
    for hook in HOOKS:
        digest.update(repr(hook).encode() + expand(hook.name, sources).encode())
    return digest.hexdigest()[:16]
