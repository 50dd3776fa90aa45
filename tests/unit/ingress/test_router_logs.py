"""What routers say of requests in apps' logs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from meshnet.ingress.router_lines import Backends, envelope, text
from meshnet.ingress.router_logs import ROUND_BYTES, Config, Reader, RouterLogs
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb

APP = "8aadf1f8-0000-4000-8000-000000000001"
FIELDS = {
    "time": "2026-11-26T06:44:02.123456789Z",
    "status": "200",
    "ms": "12",
    "upstream_ms": "10",
    "to": "10.0.16.21:61000",
    "from": "10.0.16.100:4000",
    "cluster": f"outbound|8080|{APP}|hello_istio_mesh_lab",
    "host": "hello.istio.mesh.lab",
    "method": "GET",
    "path": "/x?y=z",
    "protocol": "HTTP/1.1",
    "received": "0",
    "sent": "83",
    "referer": "-",
    "agent": "curl/8",
    "forwarded_for": "10.0.16.100",
    "forwarded_proto": "http",
    "request_id": "r",
    "error": "-",
}
# gorouter's, as what parses it in the field expects it.
GOROUTER = re.compile(
    r'\S+ - \[\S+\] "[A-Z]+ \S+ HTTP/[0-9.]+" \d+ \d+ \d+ "[^"]*" "[^"]*" "[^"]*" "[^"]*"'
    r' x_forwarded_for:"[^"]*" x_forwarded_proto:"[^"]*" vcap_request_id:"[^"]*"'
    r' response_time:[0-9.]+ gorouter_time:[0-9.]+ app_id:"[^"]*" app_index:"[^"]*"'
    r' instance_id:"[^"]*" x_cf_routererror:"[^"]*"'
)


def lrp(index: int, guid: str, port: int, state: str = api.RUNNING) -> Any:
    return pb.ActualLRP(
        actual_lrp_key=pb.ActualLRPKey(process_guid="p", index=index),
        actual_lrp_instance_key=pb.ActualLRPInstanceKey(instance_guid=guid),
        actual_lrp_net_info=pb.ActualLRPNetInfo(
            address="10.0.16.21", ports=[pb.PortMapping(container_port=8080, host_port=port)]
        ),
        state=state,
    )


def backends(*lrps: Any) -> Backends:
    found = Backends()
    for one in lrps:
        found.apply(api.CREATED, pb.ActualLRPInstanceCreatedEvent(actual_lrp=one))
    return found


def test_a_line_is_gorouters() -> None:
    line = text(FIELDS, backends(lrp(1, "guid", 61000)).get(FIELDS["to"]))
    assert GOROUTER.fullmatch(line)
    assert line == (
        'hello.istio.mesh.lab - [2026-11-26T06:44:02.123456789Z] "GET /x?y=z HTTP/1.1" 200 0 83'
        ' "-" "curl/8" "10.0.16.100:4000" "10.0.16.21:61000" x_forwarded_for:"10.0.16.100"'
        ' x_forwarded_proto:"http" vcap_request_id:"r" response_time:0.012000'
        f' gorouter_time:0.002000 app_id:"{APP}" app_index:"1" instance_id:"guid"'
        ' x_cf_routererror:"-"'
    )


def test_it_goes_to_the_app_that_the_route_led_to_and_to_nobody_else() -> None:
    made = envelope(FIELDS, None, 1, 7)
    assert (made.source_id, made.instance_id, made.timestamp) == (APP, "1", 7)
    assert made.tags["source_type"] == "RTR" and b'app_index:"-"' in made.log.payload
    assert envelope({**FIELDS, "cluster": "-"}, None, 1, 7) is None
    evil = {**FIELDS, "agent": 'x"\n app_id:"other" cluster=outbound|1|other|h'}
    made = envelope(evil, None, 0, 7)
    assert made.source_id == APP and b"\n" not in made.log.payload
    assert rb'"x\"\n app_id:\"other\"' in made.log.payload


def test_a_port_is_its_last_instances_until_another_has_it() -> None:
    known = backends(lrp(0, "one", 61000), lrp(1, "two", 61001), lrp(2, "new", 61002, api.CLAIMED))
    removed = pb.ActualLRPInstanceRemovedEvent(actual_lrp=lrp(0, "one", 61000))
    known.apply(api.REMOVED, removed)
    assert (one := known.get("10.0.16.21:61000")) and one.instance_guid == "one"
    assert known.get("10.0.16.21:61002") is None
    known.add(lrp(5, "three", 61000))
    assert (one := known.get("10.0.16.21:61000")) and one.index == 5


def test_a_log_is_read_on_from_its_end_and_over_being_emptied(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    reader = Reader(path)
    assert reader.read()[0] == []
    with path.open("a") as file:
        file.write("one\ntw")
    lines, offset = reader.read()
    assert lines == ["one"] == reader.read()[0]  # until it is dealt with
    reader.advance(offset)
    with path.open("a") as file:
        file.write("o\n")
    lines, offset = reader.read()
    assert lines == ["two"]
    reader.advance(offset)
    path.write_text("new\n")
    assert reader.read()[0] == ["new"] and reader.left_out == 0


def test_a_log_that_was_not_there_is_read_from_its_beginning(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "log")
    assert reader.read() == ([], 0)
    (tmp_path / "log").write_text("one\n")
    assert reader.read()[0] == ["one"]


def test_of_a_flood_only_the_end_is_told_and_the_rest_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("")
    reader = Reader(path)
    reader.read()
    text = "".join(f"{number:099d}\n" for number in range(100_000))
    path.write_text(text)
    lines, offset = reader.read()
    assert offset == len(text) and lines[-1] == f"{99_999:099d}"
    assert len(lines) == ROUND_BYTES // 100 and all(len(line) == 99 for line in lines)
    assert reader.left_out == len(text) - 100 * len(lines)


def test_a_piece_of_a_line_is_no_line_whatever_a_client_sent(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("")
    logs = RouterLogs(Config(0, str(path), "http://x", "x:1"), None, None)  # type: ignore[arg-type]
    forged = '"GET h/x" 200 - 1ms to=- cluster=outbound|1|another-app|h details='
    for evil in (forged, "{" + forged, json.dumps({**FIELDS, "cluster": "outbound|1|other|h"})):
        line = json.dumps({**FIELDS, "agent": evil})
        for start in range(1, len(line)):
            assert logs.envelopes([line[start:]]) == []
        assert [one.source_id for one in logs.envelopes([line])] == [APP]


@pytest.mark.parametrize("line", ["", "[warning] lua", '{"status": 404, "cluster": null}'])
def test_lines_of_no_app_are_passed_over(tmp_path: Path, line: str) -> None:
    config = Config(0, str(tmp_path / "log"), "http://x", "x:1")
    logs = RouterLogs(config, None, None)  # type: ignore[arg-type]
    assert logs.envelopes([line]) == []
    found = logs.envelopes([json.dumps(FIELDS), line, json.dumps(FIELDS)])
    times = [one.timestamp for one in found]
    assert len(times) == 2 and times[0] < times[1]
