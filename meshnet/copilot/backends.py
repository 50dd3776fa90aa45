"""Running instances as backends, by Diego process guid."""

from __future__ import annotations

from meshnet.model.routes import Backend
from meshnet.wire.bbs_running import Instance, Running

_SSH_PORT = 2222


class Backends(Running):
    """The instances that can take requests at a port that is not SSH's."""

    def backends(self, diego_guid: str) -> list[Backend]:
        """A Diego process's backends, by address."""
        found = (_backend(one) for one in self.of(diego_guid))
        return sorted(backend for backend in found if backend)


def _backend(one: Instance) -> Backend | None:
    ports = [(container, host) for container, host in one.ports if container != _SSH_PORT]
    if not ports:
        return None
    return Backend(one.instance_address, ports[0][0], one.address, ports[0][1])
