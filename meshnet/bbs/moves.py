"""Instances whose cell goes: it fell silent (suspect), or it is being emptied (evacuating).

Both serve on beside their replacement until that runs. Source: cloudfoundry/bbs controllers/
(evacuation_controller.go, lrp_convergence_controller.go).
"""

from __future__ import annotations

from typing import Any

from meshnet.bbs.lrps import Lrps
from meshnet.bbs.records import check_instance, check_key, copy, fresh
from meshnet.bbs.reports import take_report
from meshnet.bbs.table import Key, key_of
from meshnet.bbs.work import Work
from meshnet.model.errors import NotFound
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb


class Moves:
    """Each move one unit of work."""

    def __init__(self, lrps: Lrps) -> None:
        self._lrps, self._table = lrps, lrps.table

    # --- cells that fall silent ---

    def cell_lost(self, cell_id: str) -> list[Key]:
        """Instances of a silent cell are suspect, and start over elsewhere; the places."""
        lost, places = self._table.on_cell(cell_id), []
        with self._lrps.state.work() as work:
            for lrp in lost:
                if lrp.presence == pb.EVACUATING:
                    work.drop(lrp)
                elif lrp.presence == pb.ORDINARY:
                    places.append(key_of(lrp))
                    self._suspect(work, lrp)
        return places

    def _suspect(self, work: Work, lrp: Any) -> None:
        second = self._table.get(key_of(lrp), pb.SUSPECT) is not None
        if lrp.state != api.RUNNING or second:
            return self._lrps.renew(work, lrp)
        work.create(fresh(lrp.actual_lrp_key, self._lrps.now_ns()))
        return self._become(work, lrp, pb.SUSPECT)

    def cell_back(self, cell_id: str) -> None:
        """Instances of a cell that is back are ordinary again; what was to replace them goes."""
        suspects = [one for one in self._table.on_cell(cell_id) if one.presence == pb.SUSPECT]
        if not suspects:
            return
        with self._lrps.state.work() as work:
            for lrp in suspects:
                if (replacement := self._table.get(key_of(lrp))) is not None:
                    work.drop(replacement)
                self._become(work, lrp, pb.ORDINARY)

    def _become(self, work: Work, lrp: Any, presence: int) -> None:
        after = copy(lrp)
        after.presence = presence
        work.change(lrp, after)

    # --- cells that are emptied ---

    def evacuate_running(self, report: Any) -> bool:
        """An EvacuateRunningActualLRPRequest; whether the cell should keep the container."""
        key, instance = report.actual_lrp_key, report.actual_lrp_instance_key
        check_key(key)
        check_instance(instance)
        place = (key.process_guid, key.index)
        lrp, ordinary = self._table.find(place, instance), self._table.get(place)
        replaced = ordinary is not lrp and ordinary and ordinary.state in (api.RUNNING, api.CRASHED)
        if ordinary is None or replaced:
            if lrp is not None and lrp.presence != pb.ORDINARY:
                with self._lrps.state.work() as work:
                    work.drop(lrp)
            return False
        if lrp is ordinary:
            return self._leave(lrp, report)
        other = self._table.get(place, pb.EVACUATING)
        if other is not None and other is not lrp:
            return False
        return self._keep_evacuating(key, lrp, report)

    def _leave(self, lrp: Any, report: Any) -> bool:
        """The ordinary instance evacuates, and a new one waits for a cell."""
        if lrp.state not in (api.CLAIMED, api.RUNNING):
            return False
        after = copy(lrp)
        take_report(after, report)
        if after.state != api.RUNNING:
            after.state, after.since = api.RUNNING, self._lrps.now_ns()
        after.presence = pb.EVACUATING
        with self._lrps.state.work() as work:
            if (old := self._table.get(key_of(lrp), pb.EVACUATING)) is not None:
                work.drop(old)
            work.create(fresh(lrp.actual_lrp_key, self._lrps.now_ns()))
            work.change(lrp, after)
        return True

    def _keep_evacuating(self, key: Any, lrp: Any | None, report: Any) -> bool:
        """Its record is there already, or it is suspect or unknown and gets one."""
        after = copy(lrp) if lrp is not None else fresh(key, self._lrps.now_ns())
        after.actual_lrp_instance_key.CopyFrom(report.actual_lrp_instance_key)
        take_report(after, report)
        after.state, after.presence = api.RUNNING, pb.EVACUATING
        if after == lrp:
            return True
        with self._lrps.state.work() as work:
            if lrp is None:
                work.create(after)
            else:
                work.change(lrp, after)
        return True

    def evacuate_claimed(self, key: Any, instance: Any) -> None:
        """An instance that is not running yet starts over elsewhere. Raises NotFound."""
        lrp = self._found(key, instance)
        with self._lrps.state.work() as work:
            self._lrps.renew(work, lrp)

    def remove_evacuating(self, key: Any, instance: Any) -> None:
        """An evacuating instance is gone. Raises NotFound."""
        lrp = self._found(key, instance)
        if lrp.presence != pb.EVACUATING:
            raise NotFound(f"instance {instance.instance_guid} is not evacuating")
        with self._lrps.state.work() as work:
            work.drop(lrp)

    def _found(self, key: Any, instance: Any) -> Any:
        check_key(key)
        if (lrp := self._table.find((key.process_guid, key.index), instance)) is None:
            raise NotFound(f"no instance {instance.instance_guid!r} of {key.process_guid!r}")
        return lrp
