"""Apps that come and go under load: nobody's request fails, not even one that takes long."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from netns_lab import status
from netns_lab.stage import EXTERNAL, SAMPLES, Stage
from netns_lab.traffic import Load, Reply

from .conftest import meshnet
from .test_policy import wait

pytestmark = [pytest.mark.sudo, pytest.mark.timeout(240)]
URL = f"http://slow.{EXTERNAL}"
# Ends at SIGTERM at once, as most apps do: it is not the app that makes it work.
APP = """
import http.server, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/unready":
            open("unready", "w").close()
        if self.path == "/well":
            os.unlink("unready")
        if self.path == "/ready" and os.path.exists("unready"):
            return self.send_error(503)
        if self.path == "/slow":
            print("slow", flush=True)
            time.sleep(4)
        body = os.environ["CF_INSTANCE_INDEX"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""


@pytest.fixture
def slow(stage: Stage, tmp_path: Path) -> Iterator[str]:
    """An app of three instances, mapped; its guid."""
    (tmp_path / "app.py").write_text(APP)
    app = stage.client.push("slow", tmp_path, "exec python3 app.py", memory_mb=64, instances=3)
    guid = str(app["guid"])
    stage.client.act(guid, "start")
    stage.client.map_route(guid, EXTERNAL, "slow")
    stage.client.wait_running(guid)
    stage.until(URL, lambda code: code == 200)
    yield guid
    stage.client.delete_app(guid)
    stage.client.delete_route(stage.client.route(EXTERNAL, "slow")["guid"])  # type: ignore[index]


def rows(stage: Stage, guid: str) -> list[dict[str, object]]:
    return [row for row in status.instances(stage.paths) if row["app_guid"] == guid]


def under_way(stage: Stage, guid: str, number: int) -> bool:
    texts = [Path(str(row["app_log"])).read_text() for row in rows(stage, guid)]
    return sum(text.count(" slow\n") for text in texts) >= number


def test_scaling_down_fails_no_request_not_even_slow_ones(stage: Stage, slow: str) -> None:
    with ThreadPoolExecutor(6) as pool, Load(stage.outside, f"{URL}/") as load:
        long = [pool.submit(stage.outside.get, f"{URL}/slow") for _ in range(6)]
        wait(lambda: under_way(stage, slow, 6))
        stage.client.scale(slow, 1)
        answers = [reply for one in long for reply in one.result()]
        wait(lambda: len(rows(stage, slow)) == 1)
        replies = load.stop()
    assert [reply.status for reply in answers] == [200] * 6
    assert {reply.body for reply in answers} == {"0", "1", "2"}
    assert [reply for reply in replies if reply.status != 200] == []
    assert {reply.body for reply in replies[-20:]} == {"0"}


def test_a_cell_is_drained_and_no_request_fails(stage: Stage, slow: str) -> None:
    def bad(replies: list[Reply]) -> list[Reply]:
        return [reply for reply in replies if reply.status != 200]

    lab = stage.paths.lab
    before = {row["guid"] for row in status.instances(stage.paths) if row["cell"] == "cell-1"}
    try:
        with (
            ThreadPoolExecutor(4) as pool,
            Load(stage.outside, f"{URL}/") as load,
            Load(stage.outside, stage.via_frontend("backend")) as inside,
        ):
            wait(lambda: len(load.so_far()) >= 20 and len(inside.so_far()) >= 20)
            long = [pool.submit(stage.outside.get, f"{URL}/slow") for _ in range(4)]
            wait(lambda: under_way(stage, slow, 4))
            done = meshnet("lab", "drain", "cell-1", lab=lab, timeout=120)
            assert done.returncode == 0, done.stderr
            answers = [reply for one in long for reply in one.result()]
            count = len(load.so_far())
            wait(lambda: len(load.so_far()) >= count + 40)
            replies = [*load.stop(), *inside.stop()]
        assert "cell-1 is empty" in done.stdout
        assert bad(answers) == [] and bad(replies) == []
        after = status.instances(stage.paths)
        assert before and {row["cell"] for row in after} == {"cell-2"}
        assert len(after) == 3 + sum(sample.instances for sample in SAMPLES)
        crashes = stage.client.stats(slow)
        assert [row["state"] for row in crashes] == ["RUNNING"] * 3
    finally:
        undone = meshnet("lab", "drain", "cell-1", "--undo", lab=lab)
        for sample in SAMPLES:
            stage.client.act(stage.guids[sample.name], "restart")
        for sample in SAMPLES:
            stage.client.wait_running(stage.guids[sample.name])
    assert undone.returncode == 0
    assert {row["cell"] for row in status.instances(stage.paths)} == {"cell-1", "cell-2"}


def test_an_instance_that_is_not_ready_gets_no_requests_and_is_not_restarted(
    stage: Stage, slow: str
) -> None:
    check = {"type": "http", "data": {"endpoint": "/ready", "interval": 1}}
    stage.client.call("PATCH", f"/v3/processes/{slow}", {"readiness_health_check": check})
    stage.client.act(slow, "restart")
    stage.client.wait_running(slow)

    def routable() -> list[bool]:
        return [row["routable"] for row in stage.client.stats(slow)]

    def ask(index: int, path: str) -> None:
        row = next(r for r in rows(stage, slow) if r["index"] == index)
        where = f"http://{row['address']}:8080{path}"
        done = meshnet("lab", "exec", f"slow/{index}", "--", "curl", "-sS", where,
                       lab=stage.paths.lab)  # fmt: skip
        assert done.returncode == 0, done.stderr

    wait(lambda: routable() == [True] * 3)
    stage.until(URL, lambda code: code == 200)
    wait(lambda: len(rows(stage, slow)) == 3)  # those before the restart are gone
    before = {row["guid"] for row in rows(stage, slow)}
    with Load(stage.outside, f"{URL}/") as load:
        wait(lambda: {reply.body for reply in load.so_far()[-30:]} == {"0", "1", "2"})
        ask(1, "/unready")
        wait(lambda: routable() == [True, False, True])
        count = len(load.so_far())
        wait(lambda: len(load.so_far()) >= count + 60)
        assert {reply.body for reply in load.so_far()[-30:]} == {"0", "2"}
        ask(1, "/well")
        wait(lambda: {reply.body for reply in load.so_far()[-30:]} == {"0", "1", "2"})
        replies = load.stop()
    assert [reply for reply in replies if reply.status != 200] == []
    assert {row["guid"] for row in rows(stage, slow)} == before
    assert [row["state"] for row in stage.client.stats(slow)] == ["RUNNING"] * 3


def test_draining_what_is_no_cell_says_so(stage: Stage) -> None:
    done = meshnet("lab", "drain", "cell-9", lab=stage.paths.lab)
    assert done.returncode != 0
    assert "no cell 'cell-9'" in done.stderr and "cell-1, cell-2" in done.stderr
