"""Netfilter's connection table of a network namespace, from /proc/net/nf_conntrack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from meshnet.kernel import netns as namespaces

_FILE = "/proc/thread-self/net/nf_conntrack"
Address = tuple[str, int]


@dataclass(frozen=True)
class Entry:
    """A tracked connection: as its opener sends, and as its answers come.

    Attributes:
        state: of TCP, else "".
    """

    protocol: str
    source: Address
    destination: Address
    reply_source: Address
    reply_destination: Address
    state: str

    @property
    def translated(self) -> Address | None:
        """Where its destination was translated to; None where it was not."""
        return self.reply_source if self.reply_source != self.destination else None


def entries(netns: str | Path | None) -> list[Entry]:
    """All TCP and UDP connections over IPv4; none where the kernel has no such file.

    Raises:
        NotFound: there is no such namespace.
    """

    def read() -> str:
        try:
            return Path(_FILE).read_text(encoding="ascii")
        except FileNotFoundError:
            return ""

    return list(parse(namespaces.run(netns, read)))


def parse(text: str) -> Iterator[Entry]:
    """The entries of the file's text."""
    for line in text.splitlines():
        words = line.split()
        if words[:1] != ["ipv4"] or words[2] not in ("tcp", "udp"):
            continue
        pairs = [word.partition("=") for word in words if "=" in word]
        hosts = [v for k, _, v in pairs if k in ("src", "dst")]
        ports = [int(v) for k, _, v in pairs if k in ("sport", "dport")]
        if len(hosts) < 4 or len(ports) < 4:
            continue
        ends = list(zip(hosts, ports, strict=False))
        state = words[5] if words[2] == "tcp" and "=" not in words[5] else ""
        yield Entry(words[2], ends[0], ends[1], ends[2], ends[3], state)
