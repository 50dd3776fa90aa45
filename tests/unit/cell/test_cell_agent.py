"""What a cell says of an instance that it cannot even begin to make."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from meshnet.cell import record, reports
from meshnet.cell.agent import Agent
from meshnet.cell.config import Config
from meshnet.model.errors import Conflict, PeerError
from meshnet.wire.gen import bbs_pb2 as pb
from meshnet.wire.lease_api import Lease

CLAIMED = pb.ActualLRP(
    actual_lrp_key=pb.ActualLRPKey(process_guid="p", index=0, domain="cf-apps"),
    actual_lrp_instance_key=pb.ActualLRPInstanceKey(instance_guid="i", cell_id="cell-1"),
    state="CLAIMED",
)


class Bbs:
    """Silent for a while, then it hears."""

    def __init__(
        self, log_guid: str, answer: Exception | None = None, path: str = "/bin/true"
    ) -> None:
        self.log_guid, self.answer, self.path = log_guid, answer, path
        self.silent = 2
        self.heard: list[str] = []

    async def desired_lrp(self, process_guid: str) -> Any:
        action = pb.Action(run_action=pb.RunAction(path=self.path))
        return pb.DesiredLRP(process_guid=process_guid, log_guid=self.log_guid, action=action)

    async def crash_actual(self, key: Any, instance: Any, why: str) -> None:
        assert (key, instance) == (CLAIMED.actual_lrp_key, CLAIMED.actual_lrp_instance_key)
        self.silent -= 1
        if self.silent >= 0:
            raise PeerError("BBS does not answer: ReadTimeout")
        self.heard.append(why)
        if self.answer:
            raise self.answer


@pytest.fixture
def config(tmp_path: Path) -> Config:
    names = [name for name in Config.__annotations__ if name not in Config.__dict__]
    values: dict[str, Any] = dict.fromkeys(names, str(tmp_path)) | {"cell_id": "cell-1"}
    (tmp_path / "records").mkdir()
    return Config(**values)


async def create(config: Config, bbs: Bbs) -> Agent:
    tools: Any = SimpleNamespace(config=config, bbs=bbs, iptables=None)
    agent = Agent(tools, Lease("10.0.16.21", "10.255.1.0/24", "ee:ee:0a:ff:01:00"))
    agent._want(CLAIMED)
    (task,) = agent._creating.values()
    await asyncio.wait_for(task, 10)
    return agent


@pytest.mark.parametrize("answer", [None, Conflict("it is CRASHED")])
def test_bbs_is_told_until_it_hears(
    config: Config, monkeypatch: pytest.MonkeyPatch, answer: Exception | None
) -> None:
    monkeypatch.setattr(reports, "RETRY_SECONDS", 0.01)
    bbs = Bbs("no/guid", answer)
    agent = asyncio.run(create(config, bbs))
    assert bbs.heard == ["'no/guid' is no guid of an app"]
    assert agent.instances == {}


def test_a_disk_that_is_full_is_said_too(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(reports, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(record, "save", save)
    bbs = Bbs("app")
    agent = asyncio.run(create(config, bbs))
    assert bbs.heard == ["[Errno 28] No space left on device"]
    assert agent.instances == {}, "it may be tried again"


def test_what_no_cell_can_run_is_a_crash_and_leaves_no_record(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "RETRY_SECONDS", 0.01)
    bbs = Bbs("app-1", path="")
    agent = asyncio.run(create(config, bbs))
    assert bbs.heard == ["the process has nothing to run"]
    assert agent.instances == {}
    assert record.load(config) == []
