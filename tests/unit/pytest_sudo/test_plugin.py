"""The plugin runs marked tests as root through sudo, or fails saying so; it never skips them."""

from __future__ import annotations

from pathlib import Path

import pytest

import pytest_sudo

pytest_plugins = ["pytester"]

TESTS = """
import os, pytest
@pytest.mark.sudo
def test_good(): assert os.geteuid() == {uid}
@pytest.mark.sudo
def test_bad(): assert os.geteuid() == -1
def test_plain(): pass
"""


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytest_sudo, "_is_root", lambda: False)


def put_sudo(directory: Path, script: str) -> None:
    path = directory / "sudo"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def run(pytester: pytest.Pytester) -> pytest.RunResult:
    import os

    pytester.makepyfile(test_it=TESTS.format(uid=os.geteuid()))
    return pytester.runpytest_inprocess("-p", "no:cacheprovider")


def test_marked_tests_run_through_sudo_and_their_failures_count(
    pytester: pytest.Pytester, as_user: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_sudo(pytester.path, 'shift; exec "$@"')
    monkeypatch.setenv("PATH", str(pytester.path), prepend=":")
    result = run(pytester)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*FAILED test_it.py::test_bad*"])


def test_a_sudo_that_asks_for_a_password_fails_the_marked_tests(
    pytester: pytest.Pytester, as_user: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_sudo(pytester.path, "echo 'sudo: a password is required' >&2; exit 1")
    monkeypatch.setenv("PATH", str(pytester.path), prepend=":")
    result = run(pytester)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["*sudo refused: sudo: a password is required*"])


def test_without_sudo_the_marked_tests_fail_and_say_so(
    pytester: pytest.Pytester, as_user: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(pytester.path))
    result = run(pytester)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["*needs root, and sudo is not installed*"])


def test_root_runs_them_in_place(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pytest_sudo, "_is_root", lambda: True)
    run(pytester).assert_outcomes(passed=2, failed=1)
