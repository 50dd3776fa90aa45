"""What users get wrong is answered in one line with a status, and changes nothing."""

from __future__ import annotations

import pytest

from netns_lab.stage import Stage

from .conftest import meshnet

pytestmark = pytest.mark.sudo


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("create-route istio.mesh.lab -n bad_host!", "Host must be either"),
        ("create-route nowhere.lab -n x", "Domain 'nowhere.lab' not found."),
        ("create-route istio.apps.internal -n x --path /p", "Paths are not supported"),
        ("push ghost -p /nonexistent -c x", "is not a directory"),
        ("push ghost -p netns_lab/apps/hello -c ./missing", "program ./missing is not in"),
        ("add-network-policy ghost hello", "App 'ghost' not found."),
        ("add-network-policy hello hello --port 0", "missing start port"),
        ("add-network-policy hello hello --port 99999", "must be in range 1-65535"),
        ("add-network-policy hello hello --protocol icmp", "specify either udp or tcp"),
        ("scale hello -i 100000", "Instances must be between"),
        ("map-route ghost istio.mesh.lab -n x", "App 'ghost' not found."),
    ],
)
def test_cf(stage: Stage, command: str, says: str) -> None:
    before = _state(stage)
    done = meshnet("cf", *command.split(), lab=stage.paths.lab)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr.splitlines()[-1]
    assert _state(stage) == before


def _state(stage: Stage) -> object:
    client = stage.client
    return (
        [a["name"] for a in client.apps()],
        sorted(r["url"] for r in client.routes()),
        client.policies(),
    )


def test_a_policy_for_apps_nobody_has_is_refused(stage: Stage) -> None:
    with pytest.raises(Exception, match="cannot be found or accessed"):
        stage.client.allow("no-such-guid", stage.guids["hello"], ports=(8080, 8080))


def test_a_wrong_password_is_refused(stage: Stage) -> None:
    from meshnet.cli.client import Client
    from netns_lab import status

    lab = status.lab(stage.paths)
    with pytest.raises(Exception, match="credentials were rejected"):
        Client(lab["cf_api"], "admin", "wrong", ca=lab["ca"]).apps()


def test_exec_and_logs_name_what_is_not_there(stage: Stage) -> None:
    for command in (("exec", "ghost", "--", "true"), ("logs", "ghost")):
        done = meshnet("lab", *command, lab=stage.paths.lab)
        assert done.returncode == 2 and "no node and no app 'ghost'" in done.stderr
    done = meshnet("lab", "status", lab="nolab")
    assert done.returncode == 2 and "is not up" in done.stderr
