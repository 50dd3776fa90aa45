"""The lab's names of addresses and policy tags: `frontend/0`, `cell-1`, `backend.istio...`."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

from meshnet.model.errors import MeshnetError
from netns_lab import status
from netns_lab.paths import Paths

_REFRESH_SECONDS = 1.0
_MOST_VIPS = 500  # internal routes whose VIP is asked for
_FIXED = {"169.254.0.1": "gateway", "169.254.0.2": "dns", "127.0.0.1": "localhost"}


class Names:
    """Names by address and by tag; what is unknown is looked up again, once a second at most."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._addresses: dict[str, str] = {}
        self._tags: dict[int, str] = {}
        self._apps: dict[str, str] = {}
        self._vips: dict[str, str] = {}
        self._asked = 0.0
        self.refresh()

    def refresh(self) -> None:
        """Ask the lab anew."""
        self._asked = time.monotonic()
        lab = status.lab(self._paths)
        rows = status.instances(self._paths)
        if any(row["app_guid"] not in self._apps for row in rows) or not self._vips:
            self._ask_api(lab)
        self._addresses.update(_FIXED)
        for node in lab["nodes"]:
            self._addresses[node["address"]] = node["name"]
        self._addresses[lab["ingress"]] = "ingress"
        self._addresses[lab["underlay"].rpartition(".")[0] + ".1"] = "host"
        for row in rows:
            self._addresses[row["address"]] = f"{self.app(row['app_guid'])}/{row['index']}"
            if row["tag"]:
                self._tags[row["tag"]] = self.app(row["app_guid"])
        self._addresses.update(self._vips)

    def address(self, address: str) -> str:
        """The name of an address, else the address itself."""
        if address not in self._addresses:
            self._maybe_refresh()
        return self._addresses.get(address, address)

    def tag(self, tag: int) -> str:
        """The app that has a policy tag, else the tag in hex."""
        if tag and tag not in self._tags:
            self._maybe_refresh()
        return self._tags.get(tag, f"0x{tag:04x}")

    def app(self, guid: str) -> str:
        """An app's name, else the beginning of its guid."""
        return self._apps.get(guid, guid[:8])

    def _maybe_refresh(self) -> None:
        if time.monotonic() - self._asked > _REFRESH_SECONDS:
            self.refresh()

    def _ask_api(self, lab: dict[str, Any]) -> None:
        """App names, and VIPs of internal routes; both stay as they are while control is away."""
        from meshnet.cli.client import of_lab

        client = of_lab(lab)
        try:
            self._apps = {app["guid"]: app["name"] for app in client.apps()}
            domains = tuple(d["name"] for d in lab["domains"] if d["internal"] and d["istio"])
            hosts = [r["url"] for r in client.routes() if r["url"].endswith(domains)]
        except MeshnetError:
            return
        finally:
            client.close()
        self._vips = {
            vip: host
            for host in hosts[:_MOST_VIPS]
            if (vip := resolve(str(urlsplit(lab["cf_api"]).hostname), host))
        }


def resolve(server: str, name: str) -> str:
    """The first IPv4 address that a DNS server gives for a name; "" for none."""
    import dns.exception
    import dns.message
    import dns.query

    try:
        reply = dns.query.udp(dns.message.make_query(name, "A"), server, timeout=2)
        return str(next(iter(reply.answer[0]))) if reply.answer else ""
    except (dns.exception.DNSException, OSError):
        return ""
