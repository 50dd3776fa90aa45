"""Secrets do not reach a log, whatever they are written in; what is none stays readable."""

from __future__ import annotations

import base64
import subprocess
import sys

import pytest

from meshnet.wire.runtime import masked
from netns_lab.certificates import Authority

SECRET = "s3cr3t-V4lue"
BASIC = base64.b64encode(f"cf:{SECRET}".encode()).decode()
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl-_x"


@pytest.mark.parametrize(
    "text",
    [
        f"GET https://internal_user:{SECRET}@10.0.16.2:9023/internal/v4/droplets/a/b/download",
        f"http://:{SECRET}@host/",
        f"Authorization: Bearer {SECRET}",
        f"authorization: bearer {SECRET}",
        f"grant_type=password&username=admin&password={SECRET}&x=1",
        f"grant_type=refresh_token&refresh_token={SECRET}",
        f"client_id=a&client_secret={SECRET}",
        f'{{"access_token": "{SECRET}", "token_type": "bearer"}}',
        f"{{'refresh_token': '{SECRET}'}}",
        f'{{"client_secret":"with space {SECRET} and \\" quote {SECRET}"}}',
        f"Config(uaa_secret='{SECRET}', port=1)",
        f"uaa_secret: {SECRET}",
        f"internal_password={SECRET}",
        f"x-uaa-token: {SECRET}",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----",
        f"-----BEGIN RSA PRIVATE KEY-----\\n{SECRET}\\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN EC PRIVATE KEY-----\n{SECRET} and cut off here",
    ],
)
def test_secrets_are_masked(text: str) -> None:
    assert SECRET not in masked(text)
    assert "***" in masked(text)


@pytest.mark.parametrize("text", [f"Authorization: Basic {BASIC}", f"basic {BASIC}"])
def test_basic_credentials_are_masked(text: str) -> None:
    assert BASIC.rstrip("=") not in masked(text)


def test_tokens_are_masked_wherever_they_stand() -> None:
    assert masked(f"expired: {JWT} of admin") == "expired: eyJ*** of admin"


def test_a_real_key_is_masked_and_its_certificate_is_not() -> None:
    issued = Authority.make("lab").issued
    text = (issued.certificate + issued.key).decode()
    kept = masked(text)
    assert issued.certificate.decode() in kept
    assert issued.key.decode().splitlines()[1] not in kept


@pytest.mark.parametrize(
    "text",
    [
        "BBS's events: PeerError: BBS does not answer: ConnectError; trying again",
        "took over /run/meshnet/mesh/tls/control.bbs/identity.pem",
        "GET https://10.0.16.2:9023/v3/apps?names=a,b",
        "user admin: the password is wrong",
        "2 policies: 1 map entries added, 0 removed",
        '{"token_type": "bearer", "expires_in": 599}',
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text) == text


def test_what_a_daemon_logs_and_dies_of_is_masked() -> None:
    program = (
        "from meshnet.wire import runtime\n"
        "runtime.setup_logging('x')\n"
        f"runtime.log.error('password=%s', '{SECRET}')\n"
        f"raise RuntimeError('https://me:{SECRET}@host/')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "RuntimeError: https://me:***@host/" in done.stderr
    assert done.stderr.count("***") == 2
    # The line of the program itself is no file's, so it is not shown; nothing else may hold it.
    assert SECRET not in done.stderr
