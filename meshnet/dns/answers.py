"""Questions in, answers out: which names exist and which addresses they have. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

APP_TTL, ZONE_TTL = 0, 60


@dataclass(frozen=True)
class Found:
    """Addresses of a name; an empty list is a name that exists without addresses."""

    addresses: tuple[str, ...]
    ttl: int


@dataclass
class Names:
    """What this resolver knows by itself.

    Attributes:
        zone: name or "*.suffix" to addresses; the exact name wins, then the longest suffix.
        own_domains: domains in which a name that is not there does not exist.
    """

    zone: Mapping[str, Iterable[str]] = field(default_factory=dict)
    own_domains: tuple[str, ...] = ()

    def find(self, name: str) -> Found | None:
        """A lower-case name without trailing dot; None where it is not known."""
        if name in self.zone:
            return Found(tuple(self.zone[name]), ZONE_TTL)
        labels = name.split(".")
        for cut in range(1, len(labels)):
            if (wildcard := "*." + ".".join(labels[cut:])) in self.zone:
                return Found(tuple(self.zone[wildcard]), ZONE_TTL)
        return None

    def owns(self, name: str) -> bool:
        """Whether a name is below a domain that only we answer for."""
        return any(under(name, domain) for domain in self.own_domains)


def shuffled(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """In an order of chance: most clients take the first."""
    return tuple(random.sample(addresses, len(addresses)))


def under(name: str, domain: str) -> bool:
    """Whether `name` is `domain` or below it."""
    return name == domain or name.endswith("." + domain)


def question(wire: bytes) -> dns.message.Message | None:
    """Parse a query; None for what deserves no answer (garbage, responses)."""
    try:
        message = dns.message.from_wire(wire)
    except (dns.exception.DNSException, ValueError, IndexError):
        return None
    return None if message.flags & dns.flags.QR else message


def asked(query: dns.message.Message) -> str | None:
    """The one IN name asked for, lower-case and without trailing dot; None for anything else."""
    if query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
        return None
    one = query.question[0]
    if one.rdclass != dns.rdataclass.IN:
        return None
    return one.name.to_text(omit_final_dot=True).lower()


def answer(query: dns.message.Message, found: Found | None, owned: bool) -> dns.message.Message:
    """A records for A, nothing for other types; unknown: NXDOMAIN where we own it, else REFUSED."""
    response = dns.message.make_response(query)
    response.flags |= dns.flags.RA
    if found is None:
        response.set_rcode(dns.rcode.NXDOMAIN if owned else dns.rcode.REFUSED)
        return response
    response.flags |= dns.flags.AA
    one = query.question[0]
    if one.rdtype in (dns.rdatatype.A, dns.rdatatype.ANY) and found.addresses:
        response.answer.append(
            dns.rrset.from_text(one.name, found.ttl, "IN", "A", *found.addresses)
        )
    return response


def failed(query: dns.message.Message, rcode: dns.rcode.Rcode) -> dns.message.Message:
    """A response that says why there is no answer."""
    response = dns.message.make_response(query)
    response.set_rcode(rcode)
    return response


def to_wire(query: dns.message.Message, response: dns.message.Message, *, tcp: bool) -> bytes:
    """The response's bytes, truncated for UDP where the asker takes no more."""
    if tcp:
        return response.to_wire(prepend_length=True)
    limit = max(512, min(query.payload, 1232)) if query.edns >= 0 else 512
    try:
        return response.to_wire(max_size=limit)
    except dns.exception.TooBig:
        response.answer.clear()
        response.flags |= dns.flags.TC
        return response.to_wire(max_size=limit)
