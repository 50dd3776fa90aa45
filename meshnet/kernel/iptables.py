"""Netfilter rules by python-iptables, in a helper process.

The library keeps tables per process, whatever its network namespace, and takes 0.2 s to import. So
one helper (meshnet.kernel.iptables_child) is started on first use and enters the namespaces named
to it; it ends with its owner. Each call is one atomic commit of the nat table, under the lock that
the iptables commands take.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshnet.kernel import netns as namespaces
from meshnet.model.errors import KernelError, NotFound


@dataclass(frozen=True, order=True)
class HostPort:
    """Connections to the cell's `host_port` go to `address`:`port` of a container."""

    host_port: int
    address: str
    port: int = 8080


class Iptables:
    """The helper process. Thread-safe; starts on first use or `warm_up()`. Owner: `close()`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._helper: subprocess.Popen[str] | None = None

    def warm_up(self) -> None:
        """Start the helper now, without waiting for it."""
        with self._lock:
            self._started()

    def redirect_inbound(
        self,
        netns: str | Path,
        address: str,
        *,
        proxy_port: int = 15006,
        metrics_port: int = 15090,
    ) -> None:
        """Send TCP that comes into the container to its sidecar at address:proxy_port, or not.

        All but `metrics_port`. DNAT to the container's own address, not to loopback, so that no
        route_localnet is needed. Replaces what an earlier call installed; connections keep what
        they have.

        Args:
            proxy_port: 0 = to the app itself, with a rule that changes nothing.

        Raises:
            NotFound: there is no such namespace.
            KernelError: netfilter refused; nothing was changed.
        """
        self._ask(
            "redirect_inbound",
            netns,
            address=address,
            proxy_port=proxy_port,
            metrics_port=metrics_port,
        )

    def redirect_outbound(
        self,
        netns: str | Path,
        vip_network: str,
        *,
        proxy_address: str = "127.0.0.2",
        proxy_port: int = 15001,
    ) -> None:
        """Send the container's own TCP to VIPs to its sidecar on loopback, or not.

        As Cloud Foundry did (garden-external-networker, proxy_redirect.go), but to an address that
        nothing else connects to: REDIRECT's 127.0.0.1 is connect's too, and where both use one
        source port, conntrack gives the later connection another one. Replaces what an earlier
        call installed; connections keep what they have.

        Args:
            proxy_port: 0 = no redirection.

        Raises: as `redirect_inbound`.
        """
        self._ask(
            "redirect_outbound",
            netns,
            vip_network=vip_network,
            proxy_address=proxy_address,
            proxy_port=proxy_port,
        )

    def set_host_ports(
        self,
        underlay_ip: str,
        ports: Iterable[HostPort],
        *,
        overlay_network: str,
        vtep: str = "silk-vtep",
        netns: str | Path | None = None,
    ) -> None:
        """Make the cell's host ports exactly `ports`, and masquerade what leaves the overlay.

        Raises: as `redirect_inbound`.
        """
        self._ask(
            "set_host_ports",
            netns,
            underlay_ip=underlay_ip,
            ports=[[p.host_port, p.address, p.port] for p in sorted(set(ports))],
            overlay_network=overlay_network,
            vtep=vtep,
        )

    def rules(self, netns: str | Path | None = None, table: str = "nat") -> list[dict[str, Any]]:
        """The rules of a table as plain values, each with its "chain" (tests, status)."""
        found: list[dict[str, Any]] = self._ask("rules", netns, table=table)
        return found

    def close(self) -> None:
        """End the helper. Rules stay."""
        with self._lock:
            if self._helper is not None:
                self._end(self._helper)
                self._helper = None

    def __enter__(self) -> Iptables:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, do: str, netns: str | Path | None, **values: Any) -> Any:
        where = None if netns is None else str(namespaces.file(netns))
        line = json.dumps({"do": do, "netns": where, **values})
        with self._lock:
            answer = self._round_trip(line)
        if "missing" in answer:
            raise NotFound(answer["missing"])
        if "error" in answer:
            raise KernelError(f"netfilter refused {do} in {netns or 'this'} namespace: "
                              f"{answer['error']}")  # fmt: skip
        return answer["result"]

    def _round_trip(self, line: str) -> dict[str, Any]:
        helper = self._started()
        assert helper.stdin is not None and helper.stdout is not None
        try:
            helper.stdin.write(line + "\n")
            helper.stdin.flush()
            text = helper.stdout.readline()
        except BrokenPipeError:
            text = ""
        if not text:
            self._end(helper)
            self._helper = None
            raise KernelError(f"the netfilter helper ended with status {helper.returncode}")
        answer: dict[str, Any] = json.loads(text)
        return answer

    def _started(self) -> subprocess.Popen[str]:
        if self._helper is None or self._helper.poll() is not None:
            self._helper = subprocess.Popen(
                [sys.executable, "-m", "meshnet.kernel.iptables_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
                # Its own session: a terminal's Ctrl-C is for its owner, who then closes it.
                start_new_session=True,
            )
        return self._helper

    @staticmethod
    def _end(helper: subprocess.Popen[str]) -> None:
        assert helper.stdin is not None and helper.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            helper.stdin.close()
        try:
            helper.wait(2)
        except subprocess.TimeoutExpired:
            helper.kill()
            helper.wait()
        helper.stdout.close()
