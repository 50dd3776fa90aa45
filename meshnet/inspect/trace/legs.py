"""A request's legs: the TCP connections that carried it, each with where it was seen. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from meshnet.inspect.trace.model import Seen

Opener = tuple[str, int, str]  # address, port, container where the address is one of its loopback


@dataclass(frozen=True)
class Leg:
    """One connection's part of the request.

    Attributes:
        request: where the request (or an opening, or the packet) was seen, in order of time.
        answer: where its answer was seen.
    """

    opener: Opener
    request: tuple[Seen, ...]
    answer: tuple[Seen, ...]

    @property
    def status(self) -> str:
        """The answer's first line, e.g. "HTTP/1.1 200 OK"; "" without one."""
        return next((one.packet.note for one in self.answer if one.packet.note), "")


def opener(one: Seen) -> Opener:
    """Who sends it, as a name that no other container's loopback shares."""
    return _end(one, one.packet.source, one.packet.sport, one.packet.destination)


def _answered(one: Seen) -> Opener:
    return _end(one, one.packet.destination, one.packet.dport, one.packet.source)


def _end(one: Seen, address: str, port: int, other: str) -> Opener:
    local = address.startswith("127.") or address == other
    return address, port, one.target if local else ""


def legs(seen: Sequence[Seen]) -> list[Leg]:
    """Legs in the order in which the request took them."""
    openers = list(dict.fromkeys(opener(one) for one in seen if one.marked))
    return [_leg(one, seen) for one in openers]


def openings(seen: Sequence[Seen], sources: Iterable[tuple[str, int]]) -> list[Leg]:
    """Legs that never carried the request: the SYN and what answered it, by (address, port)."""
    found = []
    for address, port in dict.fromkeys(sources):
        way = [s for s in seen if (s.packet.source, s.packet.sport) == (address, port)]
        back = [s for s in seen if (s.packet.destination, s.packet.dport) == (address, port)]
        first = {s.point: s for s in reversed(way) if s.packet.flags in ("S", "")}
        answers = {s.point: s for s in reversed(back)}
        request = sorted(first.values(), key=lambda s: s.time_ns)
        if request:
            answer = sorted(answers.values(), key=lambda s: s.time_ns)
            found.append(Leg((address, port, ""), tuple(request), tuple(answer)))
    return found


def _leg(who: Opener, seen: Sequence[Seen]) -> Leg:
    """The first time at each point: segments that are sent again would be seen twice."""
    request: dict[str, Seen] = {}
    for one in seen:
        if one.marked and opener(one) == who:
            request.setdefault(one.point, one)
    began = min(one.time_ns for one in request.values())
    answer: dict[str, Seen] = {}
    for one in seen:
        if one.time_ns > began and one.packet.length and _answered(one) == who and not one.marked:
            answer.setdefault(one.point, one)
    return Leg(who, tuple(request.values()), tuple(answer.values()))
