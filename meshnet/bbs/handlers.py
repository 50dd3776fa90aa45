"""What each call does: request message in, response message out."""

from __future__ import annotations

from typing import Any

from meshnet.bbs.auction import Auction
from meshnet.bbs.lrps import Lrps
from meshnet.model.errors import NotFound
from meshnet.wire.gen import bbs_pb2 as pb


class Handlers:
    """One method per call; errors are MeshnetErrors, answered in band."""

    def __init__(self, lrps: Lrps, auction: Auction) -> None:
        self.lrps, self.auction = lrps, auction

    def desire(self, request: Any) -> Any:
        """Add or take over a desired LRP."""
        self.lrps.desire(request.desired_lrp)
        self.auction.place_unclaimed()
        return pb.DesiredLRPLifecycleResponse()

    def update(self, request: Any) -> Any:
        """Change instances or routes."""
        self.lrps.update(request.process_guid, request.update)
        self.auction.place_unclaimed()
        return pb.DesiredLRPLifecycleResponse()

    def remove_desired(self, request: Any) -> Any:
        """Remove a desired LRP and its instances."""
        self.lrps.remove(request.process_guid)
        self.auction.place_unclaimed()  # there is room now
        return pb.DesiredLRPLifecycleResponse()

    def desired_list(self, request: Any) -> Any:
        """Desired LRPs, of a domain or of some guids where named."""
        desired = self.lrps.desired
        if request.process_guids:
            found = [
                desired[guid] for guid in dict.fromkeys(request.process_guids) if guid in desired
            ]
        else:
            found = list(desired.values())
        domain = request.domain
        return pb.DesiredLRPsResponse(
            desired_lrps=[lrp for lrp in found if not domain or lrp.domain == domain]
        )

    def desired_by_guid(self, request: Any) -> Any:
        """One desired LRP."""
        if (lrp := self.lrps.desired.get(request.process_guid)) is None:
            raise NotFound(f"no desired LRP {request.process_guid!r}")
        return pb.DesiredLRPResponse(desired_lrp=lrp)

    def actual_list(self, request: Any) -> Any:
        """Actual LRPs that fit every field that is set."""
        table = self.lrps.table
        rows = table.of_process(request.process_guid) if request.process_guid else table.all()
        return pb.ActualLRPsResponse(actual_lrps=[lrp for lrp in rows if _fits(lrp, request)])

    def claim(self, request: Any) -> Any:
        """A cell takes an instance by itself."""
        self.lrps.claim(request.process_guid, request.index, request.actual_lrp_instance_key)
        return pb.ActualLRPLifecycleResponse()

    def start(self, request: Any) -> Any:
        """A cell reports an instance running."""
        self.lrps.start(
            request.actual_lrp_key, request.actual_lrp_instance_key, request.actual_lrp_net_info
        )
        return pb.ActualLRPLifecycleResponse()

    def crash(self, request: Any) -> Any:
        """A cell reports an instance's crash."""
        key = request.actual_lrp_key
        self.lrps.crash(key, request.actual_lrp_instance_key, request.error_message)
        self.auction.crashed(key.process_guid, key.index)
        return pb.ActualLRPLifecycleResponse()

    def remove_actual(self, request: Any) -> Any:
        """A cell reports that it stopped an instance."""
        given = request.HasField("actual_lrp_instance_key")
        instance = request.actual_lrp_instance_key if given else None
        self.lrps.remove_actual(request.process_guid, request.index, instance)
        self.auction.place_unclaimed()
        return pb.ActualLRPLifecycleResponse()

    def cells(self, request: Any) -> Any:
        """The cells that have spoken and are alive."""
        heard = self.auction.cells.heard()
        return pb.CellsResponse(
            cells=[pb.CellPresence(cell_id=cell, rep_address=ip) for cell, ip in heard.items()]
        )

    def presence(self, request: Any) -> Any:
        """A cell's heart-beat."""
        cell = request.cell
        ttl = max(1, request.ttl_seconds)
        self.auction.present(cell.cell_id, cell.rep_address, ttl, cell.room)
        return self.cells(request)


def _fits(lrp: Any, request: Any) -> bool:
    key, instance = lrp.actual_lrp_key, lrp.actual_lrp_instance_key
    return (
        (not request.domain or key.domain == request.domain)
        and (not request.cell_id or instance.cell_id == request.cell_id)
        and (not request.HasField("index") or key.index == request.index)
    )
