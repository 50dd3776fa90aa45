"""The hooks on an app's and its sidecar's sockets, on real sockets in a namespace and cgroups."""

from __future__ import annotations

import ctypes
import errno
import os
import socket

import pytest
from bpf_app import (
    MAPPED_VIP,
    MPTCP,
    TCP4,
    TCP6,
    UDP4,
    UDP6,
    VIP,
    bind_errno,
    connect_and_ask,
    connect_errno,
    original_dst,
    send_errno,
    serve,
)
from bpf_world import errno_of

pytestmark = pytest.mark.sudo


@pytest.mark.parametrize(("kind", "address"), [(TCP4, VIP), (TCP6, MAPPED_VIP)])
def test_vip_reaches_the_sidecar_which_learns_the_vip(app, kind, address):
    sidecar = app.start_sidecar()
    peer, local = app.do(connect_and_ask, kind, address)
    meant, client = sidecar.hear()
    assert meant == VIP
    assert client[1] == local[1]
    assert peer == address
    assert app.counted("vip_to_proxy") == 1
    assert app.counted("original_dst_answered") == 1


def test_fast_open_takes_the_same_way(app):
    def fast_open():
        with socket.socket(*TCP4) as s:
            s.sendto(b"x", socket.MSG_FASTOPEN, VIP)
            return s.getpeername()

    sidecar = app.start_sidecar()
    assert app.do(fast_open) == VIP
    assert sidecar.hear()[0] == VIP


def test_two_vips_are_told_apart(app):
    sidecar = app.start_sidecar(answers=2)
    for vip in (VIP, ("127.255.255.254", 9)):
        app.do(connect_and_ask, TCP4, vip)
        assert sidecar.hear()[0] == vip


def test_equal_loopback_tuples_in_two_namespaces_are_told_apart(app):
    other = app.world.netns("other")

    def hold(say, vip):
        with socket.socket(*TCP4) as s:
            s.bind(("127.0.0.1", 40000))
            s.connect(vip)
            say("connected")
            s.recv(1)

    def serve_when_told(say, told):
        with socket.create_server(("127.0.0.1", 15001)) as listener:
            say("listening")
            os.read(told, 1)
            connection, peer = listener.accept()
            with connection:
                return original_dst(connection), peer

    told, tell = os.pipe()
    vips = {app.netns: VIP, other: ("127.128.0.8", 81)}
    sidecars = {
        n: app.world.start(serve_when_told, told, netns=n, cgroup=app.sidecar) for n in vips
    }
    assert [child.hear() for child in sidecars.values()] == ["listening"] * 2
    # Both are connected before either sidecar asks: the later entry must not hide the earlier.
    for netns, vip in vips.items():
        client = app.world.start(hold, vip, netns=netns, cgroup=app.app)
        assert client.hear() == "connected"
    os.write(tell, b"go")
    for netns, vip in vips.items():
        assert sidecars[netns].hear() == (vip, ("127.0.0.1", 40000))
    os.close(told)
    os.close(tell)


@pytest.mark.parametrize(("kind", "address"), [(TCP4, VIP), (TCP6, MAPPED_VIP)])
def test_vip_is_refused_without_a_sidecar_even_if_somebody_listens(app, kind, address):
    own = app.world.start(serve_vip, netns=app.netns)
    assert own.hear() == "listening"
    assert app.do(connect_errno, kind, address) == errno.ECONNREFUSED


def serve_vip(say):
    with socket.create_server(("0.0.0.0", 8080)) as listener:
        say("listening")
        listener.accept()


@pytest.mark.parametrize(("kind", "address"), [(UDP4, VIP), (UDP6, MAPPED_VIP)])
def test_datagrams_to_a_vip_are_refused(app, kind, address):
    assert app.do(connect_errno, kind, address) == errno.EPERM
    assert app.do(send_errno, kind, address) == errno.EPERM
    assert app.counted("vip_refused_protocol") == 2


@pytest.mark.parametrize(("kind", "address"), [(UDP4, ("127.0.0.1", 5353)),
                                               (UDP6, ("::ffff:127.0.0.1", 5353)),
                                               (UDP6, ("::1", 5353))])  # fmt: skip
def test_other_datagrams_are_left_alone(app, kind, address):
    assert app.do(connect_errno, kind, address) == 0
    assert app.do(send_errno, kind, address) == 0


def test_multipath_tcp_cannot_pass_by_the_hooks(app):
    kind = (socket.AF_INET, socket.SOCK_STREAM, MPTCP)
    assert app.do(connect_errno, kind, ("127.0.0.1", 15000)) == errno.EPERM
    assert app.do(bind_errno, kind, ("0.0.0.0", 15001)) == errno.EPERM
    sidecar = app.start_sidecar()
    assert app.do(connect_errno, kind, VIP) == 0
    assert sidecar.hear()[0] == VIP


@pytest.mark.parametrize("port", [15000, 15001, 15006, 15090])
@pytest.mark.parametrize(
    ("kind", "host"),
    [(TCP4, "127.0.0.1"), (TCP4, "127.9.9.9"), (TCP4, "0.0.0.0"), (TCP4, "10.255.1.2"),
     (TCP6, "::1"), (TCP6, "::"), (TCP6, "::ffff:127.0.0.1"), (TCP6, "::ffff:10.255.1.2"),
     (UDP4, "127.0.0.1")],
)  # fmt: skip
def test_proxy_ports_cannot_be_connected_to(app, kind, host, port):
    assert app.do(connect_errno, kind, (host, port)) == errno.EPERM
    assert app.counted("proxy_port_refused_connect") == 1


@pytest.mark.parametrize("port", [14999, 15091])
@pytest.mark.parametrize(("kind", "host"), [(TCP4, "127.0.0.1"), (TCP6, "::1")])
def test_ports_beside_them_can(app, kind, host, port):
    assert app.do(connect_errno, kind, (host, port)) == errno.ECONNREFUSED


def test_the_hooks_bind_the_app_only(app):
    app.start_sidecar()
    connect = app.world.do(connect_errno, TCP4, ("127.0.0.1", 15001), netns=app.netns)
    assert connect == 0


@pytest.mark.parametrize(("port", "expected"), [(14999, 0), (15000, errno.EPERM),
                                                (15001, errno.EPERM), (15090, errno.EPERM),
                                                (15091, 0), (0, 0)])  # fmt: skip
@pytest.mark.parametrize(
    ("kind", "host"),
    [(TCP4, "0.0.0.0"), (TCP4, "127.0.0.1"), (TCP6, "::"), (TCP6, "::ffff:127.0.0.1"),
     (UDP4, "0.0.0.0")],
)  # fmt: skip
def test_proxy_ports_cannot_be_bound(app, kind, host, port, expected):
    assert app.do(bind_errno, kind, (host, port)) == expected


def test_a_socket_used_again_shows_its_new_peer(app):
    def twice():
        with socket.socket(*TCP4) as s:
            first = errno_of(lambda: s.connect(VIP))
            s.connect(("127.0.0.1", 8081))
            return first, s.getpeername()

    plain = app.world.start(serve, 8081, 1, netns=app.netns, cgroup=app.sidecar)
    assert plain.hear() == "listening"
    assert app.do(twice) == (errno.ECONNREFUSED, ("127.0.0.1", 8081))
    assert plain.hear() == errno.ENOENT  # the kernel's own answer: nothing was redirected
    assert app.counted("original_dst_unknown") == 1


def test_other_options_of_a_sidecar_are_left_alone(app):
    def options():
        with socket.socket(*TCP4) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            keep = s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            # A buffer above a page, of which a program sees one page only.
            value, size = ctypes.create_string_buffer(8192), ctypes.c_uint32(8192)
            result = ctypes.CDLL(None).getsockopt(
                s.fileno(), socket.IPPROTO_TCP, socket.TCP_INFO, value, ctypes.byref(size)
            )
            return keep, result == 0 and size.value > 100

    assert app.world.do(options, netns=app.netns, cgroup=app.sidecar) == (1, True)


def test_links_outlive_their_maker_and_die_with_the_cgroup(app, world, datapath):
    links = app.links / "app"
    assert len(datapath.attached(links)) == 9
    datapath.close()
    sidecar = app.start_sidecar()
    app.do(connect_and_ask, TCP4, VIP)
    assert sidecar.hear()[0] == VIP


def test_detached_hooks_are_gone(app, datapath):
    datapath.detach(app.links / "app")
    assert datapath.attached(app.links / "app") == set()
    assert app.do(bind_errno, TCP4, ("127.0.0.1", 15001)) == 0
    datapath.attach_app(app.app, app.links / "app")
    datapath.attach_app(app.app, app.links / "app")
    assert app.do(bind_errno, TCP4, ("127.0.0.1", 15001)) == errno.EPERM
