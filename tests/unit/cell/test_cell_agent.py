"""The agent where what it needs is not to be had: an instance that cannot be made is a crash."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from meshnet.cell import record
from meshnet.cell.agent import Agent
from meshnet.wire.gen import bbs_pb2 as pb

GUID, APP = "11111111-aaaa", "22222222-bbbb"


class Bbs:
    def __init__(self) -> None:
        self.crashes: list[str] = []

    async def desired_lrp(self, process_guid: str) -> Any:
        run = pb.RunAction(path="/bin/true")
        return pb.DesiredLRP(action=pb.Action(run_action=run), log_guid=APP)

    async def crash_actual(self, key: Any, instance: Any, why: str) -> None:
        self.crashes.append(why)


def test_a_disk_without_room_for_its_record_is_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(record, "save", full)
    config = SimpleNamespace(
        run=tmp_path, cell_id="cell-1", host_port_first=61000, host_ports=10, netns_prefix="a-"
    )
    (tmp_path / "records").mkdir()
    bbs = Bbs()
    lrp = pb.ActualLRP(
        actual_lrp_key=pb.ActualLRPKey(process_guid="p", index=0, domain="cf-apps"),
        actual_lrp_instance_key=pb.ActualLRPInstanceKey(instance_guid=GUID, cell_id="cell-1"),
        state="CLAIMED",
    )

    async def main() -> None:
        tools = SimpleNamespace(config=config, iptables=None, bbs=bbs)
        agent = Agent(tools, SimpleNamespace(overlay_subnet="10.255.1.0/24"))  # type: ignore[arg-type]
        await agent._create(lrp)
        assert agent.instances == {}  # or it would be taken for one that is being made, for ever

    asyncio.run(main())
    assert bbs.crashes == ["[Errno 28] No space left on device"]
