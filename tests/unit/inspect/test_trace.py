"""A trace's hops, from evidence as it is collected."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_flows import OTHER, OWN, VIP, Names, connect, verdict

from meshnet.inspect.decode import Packet
from meshnet.inspect.trace.ending import ending
from meshnet.inspect.trace.hops import hops
from meshnet.inspect.trace.legs import legs
from meshnet.inspect.trace.model import Access, Behind, Evidence, Hop, Request, Seen
from meshnet.inspect.trace.packet import craft
from meshnet.inspect.trace.send import Source, check_url
from meshnet.kernel import conntrack
from meshnet.kernel.bpf import abi
from meshnet.model.errors import InputError
from meshnet.proxy.access_log import fields

CLIENT = ("127.0.0.1", 5000)
REQUEST = Request("a/0", OWN, "http://b.internal:8080/", "b.internal", 8080, "m", 0, 9_000_000, 200,
                  "", CLIENT, (VIP, 8080), 0.009)  # fmt: skip
LINE = (
    '2026-11-24T00:39:06Z stdout F [2026-11-24T00:39:04.138Z] "GET b.internal:8080/" 200 - 3ms'
    " to=10.255.2.3:8080 tries=2 from=127.0.0.1:5000 on=127.128.0.1:8080 via=10.255.1.2:4000"
    " cluster=outbound|8080||b details=via_upstream trace=m"
    " listener=127.128.0.1_8080"
)


def seen(time_ns: int, point: str, packet: Packet, outer: Packet | None = None, *,
         outgoing: bool = False, marked: bool = True) -> Seen:  # fmt: skip
    return Seen(time_ns, point, outgoing, packet, outer, marked)


def tcp(source: tuple[str, int], destination: tuple[str, int], note: str = "GET /") -> Packet:
    return Packet("tcp", *_ends(source, destination), flags="P.", length=10, note=note)


def _ends(source: tuple[str, int], destination: tuple[str, int]) -> tuple[str, str, int, int]:
    return source[0], destination[0], source[1], destination[1]


UP, APP = (OWN, 4000), (OTHER, 8080)
VXLAN = Packet("vxlan", "10.0.16.21", "10.0.16.22", vni=1, tag=1)
SEEN = (
    seen(100, "a/0:lo", tcp(CLIENT, ("127.0.0.1", 15001))),
    seen(200, "a/0:eth0", tcp(UP, APP), outgoing=True),
    seen(210, "cell-1", tcp(UP, APP), VXLAN, outgoing=True),
    seen(230, "b/1:veth", tcp(UP, APP), outgoing=True),
    seen(240, "b/1:eth0", tcp(UP, APP)),
    seen(300, "b/1:eth0", tcp(APP, UP, "HTTP/1.1 200 OK"), outgoing=True, marked=False),
    seen(310, "a/0:eth0", tcp(APP, UP, "HTTP/1.1 200 OK"), marked=False),
)
EVIDENCE = Evidence(
    request=REQUEST,
    seen=SEEN,
    flows=(replace(connect(0, "127.0.0.1"), time_ns=90, source=CLIENT),),
    access=(Access("a/0", fields(LINE)),),
    conntrack={"b/1": (conntrack.Entry("tcp", UP, APP, (OTHER, 15006), UP, "ESTABLISHED"),)},
    policies=({"source": "a", "destination": "b", "protocol": "tcp", "start": 8080, "end": 8080},),
    clusters={"outbound|8080||b": ("10.255.2.3:8080", "10.255.2.4:8080")},
)


def test_hops_are_in_the_order_of_the_way() -> None:
    found = hops(EVIDENCE, Names())
    texts = [f"{hop.where}: {hop.what}" for hop in found]
    expected = [
        "a/0: connect to 127.128.0.1:8080 (b.internal) goes to the sidecar",
        "a/0:lo: → loopback",
        "a/0 proxy: listener 127.128.0.1_8080, cluster outbound|8080||b, instance b/1 at"
        " 10.255.2.3:8080, one of 2 instances, 2 tries",
        "a/0:eth0: → leaves the container",
        "cell-1: → vxlan to 10.0.16.22, vni 1, policy tag 0x0001 (app1)",
        "b/1: allowed: policy a → b tcp 8080-8080",
        "b/1:veth: → its cell hands it over",
        "b/1:eth0: → arrives in the container",
        "b/1: netfilter: 10.255.2.3:8080 is 10.255.2.3:15006",
        "b/1:eth0: ← leaves the container",
        "a/0:eth0: ← arrives in the container",
    ]
    assert len(texts) == len(expected)
    for text, start in zip(texts, expected, strict=True):
        assert text.startswith(start), text
    assert [hop.time_ns for hop in found] == sorted(hop.time_ns for hop in found)


def test_only_what_was_not_seen_is_marked_as_inferred() -> None:
    assert [h.what[:7] for h in hops(EVIDENCE, Names()) if h.inferred] == ["allowed"]
    told = replace(verdict(abi.Counter.TO_PASSED_POLICY), time_ns=225)
    with_event = replace(EVIDENCE, flows=(*EVIDENCE.flows, told))
    assert not [h for h in hops(with_event, Names()) if h.inferred]


def test_a_listener_is_called_as_the_proxys_own_configuration_calls_it() -> None:
    unknown = {**fields(LINE), "listener": "outbound", "cluster": "-", "details": "direct_response"}
    found = hops(replace(EVIDENCE, access=(Access("a/0", unknown),)), Names())
    assert [h.what for h in found if h.where == "a/0 proxy"] == [
        "listener outbound: no route (direct_response)"
    ]


def test_an_answered_request_ends_well() -> None:
    last = ending(EVIDENCE, hops(EVIDENCE, Names()), Names())
    assert (last.failed, last.what) == (False, "200 in 9.0 ms")


def test_a_denied_one_names_the_rule_that_is_missing() -> None:
    access = Access("a/0", {**fields(LINE), "status": "503", "flags": "UF", "details": "x"})
    denied = replace(verdict(abi.Counter.TO_DENIED_POLICY), source=UP)
    evidence = replace(
        EVIDENCE, request=replace(REQUEST, status=503), access=(access,), seen=(), flows=(denied,)
    )
    last = ending(evidence, [], Names())
    assert last.failed
    assert "cell-2 has no policy app1 → app2 tcp 8080" in last.what
    assert last.advice == "meshnet cf add-network-policy app1 app2 --protocol tcp --port 8080"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"status": "404", "cluster": "-", "flags": "NR"}, "has no route for b.internal"),
        ({"status": "503", "flags": "UH"}, "has no instance to send it to"),
        ({"status": "504", "flags": "UT"}, "did not answer in time"),
    ],
)
def test_what_a_proxy_answers_by_itself_is_a_failure(change: dict[str, str], says: str) -> None:
    access = Access("a/0", {**fields(LINE), "details": "-", **change})
    evidence = replace(EVIDENCE, request=replace(REQUEST, status=int(change["status"])),
                       access=(access,))  # fmt: skip
    last = ending(evidence, [], Names())
    assert last.failed and says in last.what and last.advice


def test_a_route_that_is_hidden_for_want_of_a_policy_is_told_from_one_that_is_not_there() -> None:
    change = {"details": "-", "status": "404", "cluster": "-"}
    access = Access("a/0", {**fields(LINE), **change})
    evidence = replace(EVIDENCE, request=replace(REQUEST, status=404), access=(access,),
                       hidden=("b", "c"))  # fmt: skip
    last = ending(evidence, [], Names())
    assert last.failed and "has no policy a → b or c tcp 8080" in last.what
    assert last.advice == "meshnet cf add-network-policy a b --protocol tcp --port 8080"


def failed(status: int, change: dict[str, str], **found: object) -> Hop:
    access = Access("a/0", {**fields(LINE), "details": "-", "status": str(status), **change})
    request = replace(REQUEST, status=status, port=int(found.pop("port", 8080)))  # type: ignore[call-overload]
    evidence = replace(EVIDENCE, request=request, access=(access,), **found)  # type: ignore[arg-type]
    return ending(evidence, [], Names())


def test_a_wrong_port_is_told_from_a_route_that_is_not_there() -> None:
    last = failed(404, {"cluster": "-"}, port=80, behind=(Behind("b", 8080, True),))
    assert "b.internal is served on port 8080, you asked for 80" in last.what
    assert last.advice == "http://b.internal:8080/"
    # Of an external host the port is the ingress's, not the app's.
    assert "served on" not in failed(404, {"cluster": "-"}, behind=(Behind("b", 0, True),)).what


def test_an_app_that_is_started_and_has_no_instance_is_not_to_be_started() -> None:
    last = failed(503, {"flags": "UH"}, behind=(Behind("b", 8080, True),))
    assert last.advice == "meshnet cf app b; meshnet cf logs b --recent"
    last = failed(503, {"flags": "UH"}, behind=(Behind("b", 8080, False),))
    assert last.advice == "meshnet cf start b"


def test_a_pilot_that_does_not_answer_is_named_before_what_it_should_have_told() -> None:
    last = failed(404, {"cluster": "-"}, silent=("cell-1.pilot",))
    assert "cell-1.pilot does not answer" in last.what
    assert last.advice == "meshnet lab logs cell-1.pilot"
    # What is known all the same is the nearer cause.
    last = failed(404, {"cluster": "-"}, silent=("control.copilot",), hidden=("b",))
    assert "has no policy a → b" in last.what


def test_an_apps_own_error_is_an_answer() -> None:
    evidence = replace(EVIDENCE, request=replace(REQUEST, status=500))
    assert not ending(evidence, [], Names()).failed


def test_loopbacks_of_two_containers_are_two_legs() -> None:
    twice = (SEEN[0], replace(SEEN[0], point="b/1:lo", time_ns=500))
    assert len(legs(twice)) == 2


def test_conntrack_lines() -> None:
    text = (
        "ipv4     2 tcp      6 86 ESTABLISHED src=1.1.1.1 dst=2.2.2.2 sport=1 dport=80"
        " src=3.3.3.3 dst=1.1.1.1 sport=8080 dport=1 [ASSURED] mark=0 zone=0 use=2\n"
        "ipv4     2 udp      17 20 src=1.1.1.1 dst=2.2.2.2 sport=5 dport=53 [UNREPLIED]"
        " src=2.2.2.2 dst=1.1.1.1 sport=53 dport=5 mark=0 use=2\n"
        "ipv6     10 tcp      6 86 ESTABLISHED src=::1\nrubbish\n"
    )
    one, two = conntrack.parse(text)
    assert (one.translated, one.state) == (("3.3.3.3", 8080), "ESTABLISHED")
    assert (two.protocol, two.translated, two.state) == ("udp", None, "")


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://a b/", "http://x:99999/", ""])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InputError):
        check_url(url)


@pytest.mark.parametrize("text", ["foo", "IP()", "1", "IP(dst='1.2.3.4')/ICMP()", "IP("])
def test_what_is_no_packet_is_refused(text: str) -> None:
    from pathlib import Path

    with pytest.raises(InputError, match="--packet"):
        craft(text, Source("a/0", OWN, Path("/x")))
