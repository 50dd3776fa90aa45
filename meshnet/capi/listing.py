"""Collections: which records a list answers with, in which order, and its page of them.

Pure: query parameters and records in, the body out. The wording is cloud_controller_ng's
(`messages/list_message.rb`, `presenters/v3/pagination_presenter.rb`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from fastapi import Request

from meshnet.capi import selectors
from meshnet.capi.errors import bad_query
from meshnet.capi.tables import Record

R = TypeVar("R", bound=Record)
Json = dict[str, Any]
DEFAULT_PER_PAGE, MAX_PER_PAGE, MAX_PAGE = 50, 5000, 2**63 - 1
_EVERY_LIST = ("page", "per_page", "order_by", "guids", "label_selector")
_TIMES = ("created_ats", "updated_ats")


@dataclass(frozen=True)
class Collection(Generic[R]):
    """What the list of one kind of record understands.

    Attributes:
        filters: query parameter -> what of a record it is compared with, one text or several:
            an attribute's name, or a function of the record.
        orders: what `order_by` takes besides created_at and updated_at, as "name".
        includes: what `include` takes -> the key in `included` and the objects of chosen records.
        exact: filters that tell cases apart (names and hosts do not, paths and states do).
    """

    filters: Mapping[str, str | Callable[[R], str | Iterable[str]]] = field(default_factory=dict)
    orders: tuple[str, ...] = ()
    includes: Mapping[str, Callable[[Sequence[R]], tuple[str, list[Json]]]] = field(
        default_factory=dict
    )
    exact: frozenset[str] = frozenset({"paths"})


def listed(
    request: Request,
    collection: Collection[R],
    records: Iterable[R],
    show: Callable[[R], Json],
) -> Json:
    """The body of a list. Raises ApiError 400 for a parameter the collection does not know."""
    url = str(request.url.replace(query=""))
    return page(url, dict(request.query_params), collection, records, show)


def page(
    url: str,
    params: Mapping[str, str],
    collection: Collection[R],
    records: Iterable[R],
    show: Callable[[R], Json],
) -> Json:
    """As `listed`, of the absolute `url` without its query."""
    _check_known(params, collection)
    number = _number(params, "page", 1, MAX_PAGE)
    size = _number(params, "per_page", DEFAULT_PER_PAGE, MAX_PER_PAGE)
    found = ordered(params, collection, chosen(params, collection, records))
    rows = found[(number - 1) * size : number * size]
    body = {
        "pagination": _pagination(url, params, len(found), number, size),
        "resources": [show(record) for record in rows],
    }
    if wanted := _wanted(params, collection):
        body["included"] = dict(collection.includes[name](rows) for name in wanted)
    return body


def one_page(rows: Iterable[Json], url: str) -> Json:
    """The body of a list that takes no parameters."""
    found = list(rows)
    return {
        "pagination": _pagination(url, {}, len(found), 1, MAX_PER_PAGE),
        "resources": found,
    }


def included(request: Request, collection: Collection[R], record: R) -> Json:
    """What `include` adds to the body of one record: {"included": ...} or nothing."""
    wanted = _wanted(request.query_params, collection)
    return (
        {"included": dict(collection.includes[name]([record]) for name in wanted)} if wanted else {}
    )


def chosen(params: Mapping[str, str], collection: Collection[R], records: Iterable[R]) -> list[R]:
    """The records that pass all filters. An empty value means «equals the empty text»."""
    tests = [
        _test(value, collection.filters[name], name in collection.exact)
        for name, value in params.items()
        if name in collection.filters
    ]
    if "guids" in params and "guids" not in collection.filters:
        tests.append(_test(params["guids"], "guid", exact=True))
    if "label_selector" in params:
        requirements = selectors.parse(params["label_selector"])
        tests.append(lambda record: selectors.matches(requirements, record.metadata["labels"]))
    tests += [selectors.time_test(*time) for time in _times(params)]
    return [record for record in records if all(test(record) for test in tests)]


def ordered(params: Mapping[str, str], collection: Collection[R], records: list[R]) -> list[R]:
    """The records in the order asked for; oldest first where none is."""
    asked = params.get("order_by", "created_at")
    key = asked.lstrip("+- ") if asked[:1] in "+- " else asked  # "+" arrives as a blank
    allowed = ("created_at", "updated_at", *collection.orders)
    if key not in allowed:
        raise _bad(f"Order by can only be: {', '.join(repr(name) for name in allowed)}")

    def rank(record: R) -> tuple[str, str, str]:
        value = getattr(record, key) or record.created_at
        return str(value).casefold(), record.created_at, record.guid

    return sorted(records, key=rank, reverse=asked.startswith("-"))


def _test(
    value: str, what: str | Callable[[Any], str | Iterable[str]], exact: bool
) -> Callable[[Any], bool]:
    fold: Callable[[str], str] = str if exact else str.casefold
    values = {fold(part) for part in value.split(",")}

    def passes(record: Any) -> bool:
        found = what(record) if callable(what) else getattr(record, what)
        if isinstance(found, str) or found is None:
            return fold(found or "") in values
        return any(fold(one) in values for one in found)

    return passes


def _times(params: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """(attribute, operator or "", value) of each time filter."""
    for name, value in params.items():
        attribute, _, operator = name.partition("[")
        if attribute in _TIMES:
            yield attribute.removesuffix("s"), operator.removesuffix("]"), value


def _check_known(params: Mapping[str, str], collection: Collection[Any]) -> None:
    known = [*_EVERY_LIST, *_TIMES, *collection.filters]
    known += ["include"] if collection.includes else []
    if unknown := [p for p in params if p not in known and p.partition("[")[0] not in _TIMES]:
        names, valid = "', '".join(unknown), "', '".join(dict.fromkeys(known))
        raise _bad(f"Unknown query parameter(s): '{names}'. Valid parameters are: '{valid}'")


def _wanted(params: Mapping[str, str], collection: Collection[Any]) -> list[str]:
    if "include" not in params or not collection.includes:
        return []
    wanted = params["include"].split(",")
    for name in wanted:
        if name not in collection.includes:
            valid = "', '".join(collection.includes)
            raise _bad(
                f"Invalid included resource: '{name}'. Valid included resources are: '{valid}'"
            )
    return wanted


def _number(params: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = params.get(name, str(default))
    label = name.replace("_", " ").capitalize()
    if not (text.isascii() and text.isdecimal()) or len(text) > 20 or int(text) < 1:
        raise _bad(f"{label} must be a positive integer")
    if int(text) > most:
        limit = f"between 1 and {most}" if name == "per_page" else f"less than {most + 1}"
        raise _bad(f"{label} must be {limit}")
    return int(text)


def _pagination(url: str, params: Mapping[str, str], total: int, number: int, size: int) -> Json:
    last = max(1, math.ceil(total / size))
    others = {name: value for name, value in params.items() if name not in ("page", "per_page")}

    def link(to: int) -> Json:
        query = urlencode(sorted({**others, "page": str(to), "per_page": str(size)}.items()))
        return {"href": f"{url}?{query}"}

    return {
        "total_results": total,
        "total_pages": last,
        "first": link(1),
        "last": link(last),
        "next": link(number + 1) if number < last else None,
        "previous": link(min(number - 1, last)) if number > 1 else None,
    }


def _bad(detail: str) -> Exception:
    return bad_query(f"The query parameter is invalid: {detail}")
