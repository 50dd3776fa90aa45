"""Records of LRPs: new ones, copies, and what makes one valid."""

from __future__ import annotations

import re
import uuid
from typing import Any

from meshnet.model.errors import InputError
from meshnet.wire import bbs_api as api
from meshnet.wire.gen import bbs_pb2 as pb

MAX_INSTANCES = 10_000  # of one process: a slip of the finger must not fill the memory
MAX_REASON = 1024
_MAX_ROUTES_BYTES = 131_072
# cloudfoundry/bbs models/desired_lrp.go; a store's key is built of it.
_PROCESS_GUID = re.compile(r"[a-zA-Z0-9_-]+")


def copy(message: Any) -> Any:
    """A protobuf message of its own with equal content."""
    twin = type(message)()
    twin.CopyFrom(message)
    return twin


def fresh(key: Any, now_ns: int) -> Any:
    """An instance that waits for a cell."""
    return pb.ActualLRP(
        actual_lrp_key=key, state=api.UNCLAIMED, since=now_ns, modification_tag=first_tag()
    )


def first_tag() -> Any:
    """The modification tag of something new."""
    return pb.ModificationTag(epoch=str(uuid.uuid4()))


def check_desired(lrp: Any) -> None:
    """Raise InputError where a desired LRP lacks something or is too large."""
    if not _PROCESS_GUID.fullmatch(lrp.process_guid):
        raise InputError("a desired LRP's process_guid has letters, digits, - and _ only")
    if not lrp.domain or not lrp.HasField("action"):
        raise InputError("a desired LRP needs process_guid, domain and action")
    if lrp.memory_mb < 0 or lrp.disk_mb < 0:
        raise InputError("a desired LRP's memory_mb and disk_mb must not be negative")
    check_scale(lrp)


def check_scale(lrp: Any) -> None:
    """Raise InputError where a desired LRP's instances or routes are too many."""
    if not 0 <= lrp.instances <= MAX_INSTANCES:
        raise InputError(f"instances must be 0 to {MAX_INSTANCES}, not {lrp.instances}")
    if sum(len(value) for value in lrp.routes.routes.values()) > _MAX_ROUTES_BYTES:
        raise InputError(f"routes are larger than {_MAX_ROUTES_BYTES} bytes")


def check_key(key: Any) -> None:
    """Raise InputError where an ActualLRPKey names no place."""
    if not key.process_guid:
        raise InputError("an actual LRP's key needs a process_guid")
    if key.index < 0:
        raise InputError(f"an actual LRP's index must not be negative, as {key.index} is")


def check_instance(instance: Any) -> None:
    """Raise InputError where an ActualLRPInstanceKey names no instance."""
    if not instance.instance_guid or not instance.cell_id:
        raise InputError("an instance's key needs instance_guid and cell_id")
