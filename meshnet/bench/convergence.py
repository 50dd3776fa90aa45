"""`meshnet bench convergence`: how long after the API's answer a mapped route serves."""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

from meshnet.cli.client import Client, dump, from_environment
from meshnet.model.errors import NotFound, PeerError
from netns_lab import paths, status

_GIVE_UP_SECONDS = 10.0
_HOST = "bench-{}"
# What Cloud Foundry's own mesh took: its control plane polled, every 30 s at two places.
_OLD_SYSTEM = "30 to 90 s in the system it re-implements"


def _serves(ingress: str, host: str) -> bool:
    connection = http.client.HTTPConnection(ingress, timeout=2)
    try:
        connection.request("GET", "/", headers={"Host": host})
        return connection.getresponse().status == http.client.OK
    finally:
        connection.close()


def _app(client: Client) -> str:
    for app in client.apps():
        if any(row["state"] == "RUNNING" for row in client.stats(app["guid"])):
            return str(app["guid"])
    raise NotFound("no running app to map routes to: run `meshnet lab demo` first")


@contextmanager
def _route(client: Client, domain: str, host: str) -> Iterator[str]:
    route = client.create_route(domain, host)
    try:
        yield str(route["guid"])
    finally:
        client.delete_route(route["guid"])


def measure(client: Client, ingress: str, domain: str, times: int) -> list[float]:
    """Seconds from the answer to a map-route to the first 200, for each of `times` new routes.

    Raises:
        PeerError: a route did not serve within 10 s.
    """
    app, samples = _app(client), []
    for number in range(times):
        host = _HOST.format(number)
        with _route(client, domain, host) as guid:
            body = {"destinations": [{"app": {"guid": app}}]}
            client.post(f"/v3/routes/{guid}/destinations", body)
            began = time.monotonic()
            while not _serves(ingress, f"{host}.{domain}"):
                if time.monotonic() - began > _GIVE_UP_SECONDS:
                    raise PeerError(f"{host}.{domain} does not serve after {_GIVE_UP_SECONDS} s")
            samples.append(time.monotonic() - began)
    return samples


def run(times: int, *, as_json: bool) -> int:
    """Measure on the lab that is up, print, return the exit status."""
    lab = status.lab(paths.chosen())
    domain = next(d["name"] for d in lab["domains"] if d["istio"] and not d["internal"])
    samples = measure(from_environment(), lab["ingress"], domain, times)
    ordered = sorted(samples)
    if as_json:
        dump({"samples_seconds": samples, "median_seconds": statistics.median(samples)})
        return 0
    print(f"map-route to first 200, {times} routes, one after the other (ms)")
    for name, value in (
        ("least", ordered[0]),
        ("median", statistics.median(samples)),
        ("p95", ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]),
        ("most", ordered[-1]),
    ):
        print(f"  {name:<7}{value * 1000:8.1f}")
    print(f"  ({_OLD_SYSTEM})")
    return 0
