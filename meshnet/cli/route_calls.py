"""The API's calls for routes and network policies, in the cf CLI's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshnet.cli.target import Target

_POLICIES = "/networking/v1/external/policies"
Json = dict[str, Any]


class RouteCalls(Target):
    """Calls for routes and policies. Methods raise InputError, NotFound and PeerError."""

    def domain(self, name: str) -> Json:
        """One domain. Raises NotFound."""
        return self.one("/v3/domains", f"Domain '{name}'", names=name)

    def routes(self) -> list[Json]:
        """Every route."""
        return self.list("/v3/routes", **self._scope())

    def route(self, domain: str, host: str, path: str = "") -> Json | None:
        """One route, or None."""
        guid = self.domain(domain)["guid"]
        found = self.get("/v3/routes", domain_guids=guid, hosts=host, paths=path)["resources"]
        return found[0] if found else None

    def create_route(self, domain: str, host: str, path: str = "") -> Json:
        """Create a route. Raises InputError where it exists or makes no sense."""
        relationships = {
            "space": {"data": {"guid": self.space}},
            "domain": {"data": {"guid": self.domain(domain)["guid"]}},
        }
        body = {"host": host, "relationships": relationships, **({"path": path} if path else {})}
        route: Json = self.post("/v3/routes", body)
        return route

    def map_route(self, app_guid: str, domain: str, host: str, path: str = "") -> Json:
        """Map a route to an app; creates it where needed."""
        route = self.route(domain, host, path) or self.create_route(domain, host, path)
        body = {"destinations": [{"app": {"guid": app_guid}}]}
        self.post(f"/v3/routes/{route['guid']}/destinations", body)
        return route

    def unmap_route(self, app_guid: str, domain: str, host: str, path: str = "") -> bool:
        """Unmap an app from a route; whether it was mapped."""
        route = self.route(domain, host, path)
        for destination in route["destinations"] if route else ():
            if route and destination["app"]["guid"] == app_guid:
                path = f"/v3/routes/{route['guid']}/destinations/{destination['guid']}"
                self.call("DELETE", path)
                return True
        return False

    def split_route(self, route_guid: str, weights: Mapping[str, int | None]) -> None:
        """Replace a route's destinations: app guid to weight."""
        rows = [
            {"app": {"guid": app}, **({"weight": weight} if weight is not None else {})}
            for app, weight in weights.items()
        ]
        self.call("PATCH", f"/v3/routes/{route_guid}/destinations", {"destinations": rows})

    def delete_route(self, route_guid: str) -> None:
        """Delete a route."""
        self.call("DELETE", f"/v3/routes/{route_guid}")

    # --- policies ---

    def policies(self, app_guids: str = "") -> list[Json]:
        """Network policies, of some apps where named."""
        params = {"id": app_guids} if app_guids else {}
        found: list[Json] = self.get(_POLICIES, **params)["policies"]
        return found

    def allow(
        self, source: str, destination: str, *, protocol: str = "tcp", ports: tuple[int, int]
    ) -> None:
        """Add a policy between two apps (guids)."""
        self.post(_POLICIES, {"policies": [_policy(source, destination, protocol, ports)]})

    def deny(
        self, source: str, destination: str, *, protocol: str = "tcp", ports: tuple[int, int]
    ) -> bool:
        """Remove a policy between two apps (guids); whether there was one."""
        policy = _policy(source, destination, protocol, ports)
        known = policy in self.policies(source)
        self.post(f"{_POLICIES}/delete", {"policies": [policy]})
        return known


def _policy(source: str, destination: str, protocol: str, ports: tuple[int, int]) -> Json:
    target = {"id": destination, "protocol": protocol}
    return {
        "source": {"id": source},
        "destination": {**target, "ports": {"start": ports[0], "end": ports[1]}},
    }
