"""What the agent remembers of an instance, and the names that follow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from meshnet.cell import record
from meshnet.cell.config import Config
from meshnet.cell.record import Names, Record
from meshnet.wire.gen import bbs_pb2 as pb

RECORD = Record(
    guid="14f4e60a-0000-4000-8000-000000000001",
    process_guid="p",
    index=0,
    domain="cf-apps",
    app_guid="a",
    address="10.255.3.4",
    host_port=61000,
    uid=60001,
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "records").mkdir()
    url = "http://10.0.16.2"
    return Config(
        lab="mesh",
        cell_id="cell-3",
        underlay_ip="10.0.16.23",
        underlay_network="10.0.16.0/24",
        overlay_network="10.255.0.0/16",
        vip_range="127.128.0.0/9",
        routers=["10.0.16.11"],
        lease_url=url,
        bbs_url=url,
        log_cache_addr="10.0.16.2:8080",
        policy_internal_url=url,
        run_dir=str(tmp_path),
        pin_dir=str(tmp_path / "pins"),
        ledger=str(tmp_path / "ledger"),
        log_dir=str(tmp_path),
        cgroup="/meshnet/mesh/cell-3",
        netns_prefix="mesh-cell-3-",
        envoy="/envoy",
        status_socket=str(tmp_path / "sock"),
    )


def test_a_record_comes_back_as_it_was_saved_last(config: Config) -> None:
    lrp = pb.DesiredLRP(process_guid="p", memory_mb=64)
    record.save(config, RECORD, lrp)
    running = replace(RECORD, running=True)
    record.save(config, running)
    other = replace(RECORD, guid="another", address="10.255.3.5")
    record.save(config, other, lrp)
    assert record.load(config) == [(running, lrp), (other, lrp)]
    assert Names(config, RECORD).lrp.stat().st_mode & 0o77 == 0
    record.forget(config, RECORD.guid)
    assert record.load(config) == [(other, lrp)]
    assert not Names(config, RECORD).lrp.exists()


def test_a_record_of_another_release_is_of_none_that_runs(config: Config) -> None:
    record.save(config, replace(RECORD, running=True))
    path = Path(config.run_dir) / "records" / f"{RECORD.guid}.json"
    path.write_text(path.read_text().replace("{", '{"memory_mb": 64, ', 1))
    ((found, lrp),) = record.load(config)
    assert found == RECORD and lrp.action.run_action.path


def test_half_a_record_is_none(config: Config) -> None:
    (config.run / "records" / "x.new").write_text('{"guid":')
    assert record.load(config) == []


def test_names_are_silks_and_fit_the_kernels_limit(config: Config) -> None:
    names = Names(config, RECORD)
    assert names.veth == "s-010255003004"
    assert len(names.veth) <= 15
    assert names.netns == "mesh-cell-3-14f4e60a"
    assert names.app_cgroup == f"/meshnet/mesh/cell-3/{RECORD.guid}/app"
    ids = {names.app_id, names.sidecar_id}
    assert len(ids) == 2
    assert len({names.bundle(config, one) for one in ids}) == 2
