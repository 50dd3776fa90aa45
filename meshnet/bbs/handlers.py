"""What changes BBS: request message in, response message out."""

from __future__ import annotations

from typing import Any

from meshnet.bbs.auction import Auction
from meshnet.bbs.cells import Cell
from meshnet.bbs.converge import Room
from meshnet.bbs.domains import Domains
from meshnet.bbs.lrps import Lrps
from meshnet.bbs.moves import Moves
from meshnet.bbs.reports import Reports
from meshnet.wire.gen import bbs_pb2 as pb


class Handlers:
    """One method per call; errors are MeshnetErrors, answered in band."""

    def __init__(self, lrps: Lrps, auction: Auction, domains: Domains) -> None:
        self.lrps, self.auction, self.domains = lrps, auction, domains
        self._reports, self._moves = Reports(lrps), Moves(lrps)

    # --- desired LRPs and domains ---

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

    def upsert_domain(self, request: Any) -> Any:
        """A domain is fresh for a while."""
        self.domains.upsert(request.domain, request.ttl)
        return pb.UpsertDomainResponse()

    def fresh_domains(self, request: Any) -> Any:
        """The domains that are fresh."""
        return pb.DomainsResponse(domains=self.domains.fresh())

    # --- what cells report ---

    def claim(self, request: Any) -> Any:
        """A cell takes an instance by itself."""
        self._reports.claim(request.process_guid, request.index, request.actual_lrp_instance_key)
        return pb.ActualLRPLifecycleResponse()

    def start(self, request: Any) -> Any:
        """A cell reports an instance running."""
        self._reports.start(request)
        return pb.ActualLRPLifecycleResponse()

    def crash(self, request: Any) -> Any:
        """A cell reports an instance's crash."""
        self._crash(request)
        return pb.ActualLRPLifecycleResponse()

    def fail(self, request: Any) -> Any:
        """An instance could not be placed."""
        self._reports.fail(request.actual_lrp_key, request.error_message)
        return pb.ActualLRPLifecycleResponse()

    def remove_actual(self, request: Any) -> Any:
        """A cell reports that it stopped an instance."""
        given = request.HasField("actual_lrp_instance_key")
        instance = request.actual_lrp_instance_key if given else None
        self._reports.remove(request.process_guid, request.index, instance)
        self.auction.place_unclaimed()
        return pb.ActualLRPLifecycleResponse()

    def retire(self, request: Any) -> Any:
        """An instance is to be stopped."""
        self._reports.retire(request.actual_lrp_key)
        self.auction.place_unclaimed()
        return pb.ActualLRPLifecycleResponse()

    def _crash(self, request: Any) -> None:
        key = request.actual_lrp_key
        self._reports.crash(key, request.actual_lrp_instance_key, request.error_message)
        self.auction.crashed(key.process_guid, key.index)

    # --- what a cell that is being emptied reports; whether it is to keep the container ---

    def evacuate_running(self, request: Any) -> Any:
        """An instance runs on until its replacement does."""
        keep = self._moves.evacuate_running(request)
        self.auction.place_unclaimed()
        return pb.EvacuationResponse(keep_container=keep)

    def evacuate_claimed(self, request: Any) -> Any:
        """An instance that does not run yet starts over elsewhere."""
        self._moves.evacuate_claimed(request.actual_lrp_key, request.actual_lrp_instance_key)
        self.auction.place_unclaimed()
        return pb.EvacuationResponse()

    def evacuate_crashed(self, request: Any) -> Any:
        """An instance crashed meanwhile."""
        self._crash(request)
        return pb.EvacuationResponse()

    def evacuate_stopped(self, request: Any) -> Any:
        """An instance was stopped meanwhile."""
        key = request.actual_lrp_key
        self._reports.remove(key.process_guid, key.index, request.actual_lrp_instance_key)
        self.auction.place_unclaimed()
        return pb.EvacuationResponse()

    def remove_evacuating(self, request: Any) -> Any:
        """An evacuating instance is gone."""
        self._moves.remove_evacuating(request.actual_lrp_key, request.actual_lrp_instance_key)
        return pb.RemoveEvacuatingActualLRPResponse()

    # --- cells ---

    def cells(self, request: Any) -> Any:
        """The cells that have spoken and are alive."""
        return pb.CellsResponse(
            cells=[
                pb.CellPresence(
                    cell_id=cell_id,
                    rep_address=cell.address,
                    zone=cell.room.zone,
                    capacity=pb.CellCapacity(
                        memory_mb=cell.room.memory_mb, containers=cell.room.containers
                    ),
                )
                for cell_id, cell in self.auction.cells.heard().items()
            ]
        )

    def presence(self, request: Any) -> Any:
        """A cell's heart-beat."""
        said = request.cell
        room = Room(said.capacity.containers, said.capacity.memory_mb, said.zone)
        cell = Cell(said.rep_address, room, request.evacuating)
        self.auction.present(said.cell_id, cell, max(1, request.ttl_seconds))
        return self.cells(request)
