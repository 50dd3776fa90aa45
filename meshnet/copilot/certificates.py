"""The names that an ingress certificate is for."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509

from meshnet.model.errors import InputError

log = logging.getLogger("meshnet")


def names_in(paths: Iterable[str]) -> list[list[str]]:
    """The DNS names of each PEM file; one that is of no use is left out, and said in the log."""
    found = []
    for path in paths:
        try:
            found.append(dns_names(Path(path).read_text(encoding="ascii")))
        except (OSError, ValueError, InputError) as exc:
            log.warning("nothing is served with %s: %s", path, exc)
    return found


def dns_names(pem: str) -> list[str]:
    """The DNS names of the first certificate of a PEM chain.

    Raises:
        InputError: it is no PEM certificate, or has no DNS name.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
    except (ValueError, x509.ExtensionNotFound) as exc:
        raise InputError(f"an ingress certificate is of no use: {exc}") from exc
    if not names:
        raise InputError("an ingress certificate has no DNS name")
    return names
