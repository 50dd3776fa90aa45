"""What `trace --packet` takes, and what it does not."""

from pathlib import Path

import pytest

from meshnet.inspect.trace.packet import craft
from meshnet.inspect.trace.send import Source
from meshnet.model.errors import InputError

SOURCE = Source("a/0", "10.255.1.2", Path("/x"))


@pytest.mark.parametrize(
    "text",
    [
        "IP(dst='10.255.1.3')/TCP(dport=8080, flags='S')",
        " IP(dst='10.255.1.3', ttl=-1 * -64)/UDP(dport=9)/Raw(b'x' * 100)",
        "IP(dst='10.255.1.3')/TCP(dport=80, seq=RandInt(), options=[('MSS', 1460)])",
    ],
)
def test_layers_with_constants(text: str) -> None:
    packet = craft(text, SOURCE)
    assert (packet.src, packet.dst) == ("10.255.1.2", "10.255.1.3")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("IP(dst='1.1.1.1'", "never closed"),
        ("UDP(dport=1)", "wants IP"),
        ("IP(dst='1.1.1.1')/ICMP()", "wants IP"),
        ("IP", "wants IP"),
        ("__import__('os').system('id')", "Attribute has no place"),
        ("open('/etc/passwd')", "NameError"),
        ("sniff(count=1)", "NameError"),
        ("[IP() for _ in (1,)]", "has no place"),
        ("IP(dst=" + "(" * 300, "SyntaxError"),
        ("", "SyntaxError"),
    ],
)
def test_anything_else_is_refused_and_not_run(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        craft(text, SOURCE)
