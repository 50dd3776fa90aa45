"""What the Cloud Controller refuses, in its words (cloud_controller_ng, v3 messages, models)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from meshnet.capi.domains import Domain
from meshnet.capi.errors import unprocessable

_HOST = re.compile(r"[\w-]+\Z", re.ASCII)
MAX_HOST, MAX_PATH, MAX_NAME = 63, 128, 255
MAX_INSTANCES, MAX_MEMORY_MB, MAX_DISK_MB = 1000, 64 * 1024, 1024 * 1024
MAX_COMMAND = 4096
MAX_ENV_BYTES = 256 * 1024  # names and values; the kernel takes no single one of 128 KiB
MIN_WEIGHT, MAX_WEIGHT = 1, 128


def name(value: str) -> None:
    """An app's, space's or organization's name."""
    if not value.strip():
        raise unprocessable("Name can't be blank")
    if len(value) > MAX_NAME:
        raise unprocessable(f"Name is too long (maximum is {MAX_NAME} characters)")
    if not value.isprintable():
        raise unprocessable("Name must not contain escaped characters")


def host(value: str, domain: Domain) -> None:
    """A route's host in a domain."""
    if not value:
        if domain.organization:
            return
        raise unprocessable("Missing host. Routes in shared domains must have a host defined.")
    if len(value) > MAX_HOST:
        raise unprocessable(f"Host is too long (maximum is {MAX_HOST} characters)")
    if value == "*":
        if domain.internal:
            raise unprocessable("Wildcard hosts are not supported for internal domains.")
    elif not _HOST.match(value):
        raise unprocessable(
            'Host must be either "*" or contain only alphanumeric characters, "_", or "-"'
        )


def path(value: str, domain: Domain) -> None:
    """A route's path; empty = none."""
    if not value:
        return
    if domain.internal:
        raise unprocessable("Paths are not supported for internal domains.")
    if value == "/":
        raise unprocessable("Path cannot be a single slash")
    if not value.startswith("/"):
        raise unprocessable("Path must start with a forward slash")
    if "?" in value:
        raise unprocessable("Path cannot contain a question mark")
    if len(value) > MAX_PATH:
        raise unprocessable(f"Path is too long (maximum is {MAX_PATH} characters)")
    if not value.isascii() or not value.isprintable() or " " in value or "#" in value:
        raise unprocessable("Path must be a valid URI")


def instances(value: int) -> None:
    """A process's instance count."""
    if not 0 <= value <= MAX_INSTANCES:
        raise unprocessable(f"Instances must be between 0 and {MAX_INSTANCES}")


def memory(value: int) -> None:
    """A process's memory in MiB."""
    if not 1 <= value <= MAX_MEMORY_MB:
        raise unprocessable(f"Memory in mb must be between 1 and {MAX_MEMORY_MB}")


def disk(value: int) -> None:
    """A process's disk in MiB."""
    if not 1 <= value <= MAX_DISK_MB:
        raise unprocessable(f"Disk in mb must be between 1 and {MAX_DISK_MB}")


def command(value: str) -> None:
    """A process's start command."""
    if not value.strip():
        raise unprocessable("Command must not be empty")
    if len(value) > MAX_COMMAND:
        raise unprocessable(f"Command is too long (maximum is {MAX_COMMAND} characters)")
    if not _can_be_executed(value):
        raise unprocessable("Command must not contain null characters or broken Unicode")


def weights(values: Iterable[int | None]) -> None:
    """Destinations have all a weight or none has; each is a share of their sum."""
    given = list(values)
    if any(w is None for w in given) and any(w is not None for w in given):
        raise unprocessable("Destinations cannot contain both weighted and unweighted destinations")
    if any(w is not None and not MIN_WEIGHT <= w <= MAX_WEIGHT for w in given):
        raise unprocessable(f"Weight must be between {MIN_WEIGHT} and {MAX_WEIGHT}")


def env(values: dict[str, str | None]) -> None:
    """Environment variables of an app."""
    for key, value in values.items():
        if key == "PORT" or key.startswith("VCAP_") or not key or "=" in key:
            raise unprocessable(f"Environment variable {key!r} is reserved or malformed")
        if not _can_be_executed(key) or not _can_be_executed(value or ""):
            raise unprocessable(
                f"Environment variable {key!r} must not contain null characters or broken Unicode"
            )


def env_size(values: Mapping[str, str]) -> None:
    """All environment variables that an app has: a change adds to those there are."""
    if sum(len(k.encode()) + len(v.encode()) for k, v in values.items()) > MAX_ENV_BYTES:
        raise unprocessable(f"Environment is too large (maximum is {MAX_ENV_BYTES} bytes)")


def _can_be_executed(text: str) -> bool:
    """Whether execve can take it: JSON may hold NULs and lone surrogates, which UTF-8 cannot."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)
