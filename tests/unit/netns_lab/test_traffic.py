"""Requests from a node."""

from __future__ import annotations

import pytest

from meshnet.model.errors import PeerError
from netns_lab.traffic import Load, Node


def test_a_node_that_is_gone_is_said_to_be() -> None:
    node = Node("no-such-netns", None)
    with pytest.raises(
        PeerError, match=r"no request can be sent from no-such-netns: .*No such file"
    ):
        node.get("http://192.0.2.1/")
    with Load(node, "http://192.0.2.1/") as load:
        assert load.stop() == []
