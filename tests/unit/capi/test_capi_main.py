import dataclasses

import pytest

from meshnet.capi.main import Config, public_url
from meshnet.wire.tls import Tls

_REQUIRED = {
    field.name: "10.0.16.2" if field.name == "listen_host" else "x"
    for field in dataclasses.fields(Config)
    if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
}
_TLS = Tls(certificate="c", key="k", ca="a")


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "http://10.0.16.2"),
        ({"listen_port": 8080}, "http://10.0.16.2:8080"),
        ({"tls": _TLS}, "https://10.0.16.2"),
        ({"tls": _TLS, "tls_port": 8443}, "https://10.0.16.2:8443"),
    ],
)
def test_apps_are_told_the_api_that_users_have(given: dict[str, object], url: str) -> None:
    assert public_url(Config(**{**_REQUIRED, **given})) == url  # type: ignore[arg-type]
