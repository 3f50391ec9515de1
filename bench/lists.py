"""Tag lists: what it costs to learn that they say the same as before, and a thousand of them.

The yardstick asks for the same bytes over the same transport (`edges.http`), and compares them with the
last ones. The registry is a process of its own that knows nothing but tag lists.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import semver

from automator.app.build import App, utc_now
from automator.config import load
from automator.core.reference import Repository, parse_repository
from automator.cycle.observe import Observer
from automator.cycle.run import Cycle, Trigger
from automator.edges.http import Limits, new_session, send
from automator.edges.registry import HostSettings, RegistryClient
from automator.edges.store import Store
from bench import cases
from bench.cases import Found, MemoryRegistry, Told, program
from bench.inputs import ConfigRepo, Shape, make_config_repo
from bench.measure import Cost, alternate, peak_memory, timed

ONE_LIST = 10_000
"""Tags of the list that is asked for alone."""
EACH = 1001
"""Tags of each of many lists: a page of exactly 1,000 may not be the last, and is asked about once more."""
NEWEST = f"1.0.{EACH - 1}"
MOST_COLD = 3
"""Cold starts: each takes seconds."""
ALL = Trigger("command", all_due=True)
WEIGHT = 10
"""More runs of what takes less than a millisecond."""


# -- a registry of tag lists --------------------------------------------------------------------------


@cache
def tag_list(path: str, count: int) -> bytes:
    """The list of a repository: `count` patches of 1.0."""
    return json.dumps({"name": path, "tags": [f"1.0.{patch}" for patch in range(count)]}).encode()


class _Lists(BaseHTTPRequestHandler):
    """Answers `/v2/PATH/tags/list` for every path (OCI distribution spec 1.1, content discovery)."""

    protocol_version = "HTTP/1.1"
    wbufsize = 2**20  # head and body in one piece: nobody waits for a late acknowledgement
    disable_nagle_algorithm = True
    count = EACH
    delay = 0.0
    """Seconds before each answer."""

    def do_GET(self) -> None:
        time.sleep(self.delay)
        path = self.path.partition("?")[0].removeprefix("/v2/").removesuffix("/tags/list")
        body = tag_list(path, self.count)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


@contextmanager
def registry(count: int) -> Iterator[str]:
    """A registry whose repositories have `count` tags each; gives its host."""
    with delayed_registry(count, 0.0) as host:
        yield host


@contextmanager
def delayed_registry(count: int, delay: float) -> Iterator[str]:
    """The same, so many seconds away."""
    words = [sys.executable, "-m", "bench.lists", "serve", str(count), str(delay)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def _serve(count: int, delay: float) -> None:
    _Lists.count, _Lists.delay = count, delay
    with _Server(("127.0.0.1", 0), _Lists) as server:
        print(f"127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()


class _Comparing:
    """Asks for tag lists over the same transport, compares them with the last ones, and nothing more."""

    def __init__(self, host: str, repositories: Sequence[Repository], threads: int) -> None:
        self._host = host
        self._bodies: dict[Repository, bytes] = {}
        self._shares = [repositories[start::threads] for start in range(threads)]
        self._session = new_session(pool_size=threads)
        self._pool = ThreadPoolExecutor(threads)
        self.ask()

    def ask(self) -> int:
        """How many lists were other ones than before."""
        return sum(self._pool.map(self._ask, self._shares))

    def _ask(self, repositories: Sequence[Repository]) -> int:
        changed = 0
        limits = Limits(10.0, 10.0, time.monotonic() + 60.0, 16 * 2**20)
        for repository in repositories:
            url = f"http://{self._host}/v2/{repository.path}/tags/list?n=1000"
            body = send(self._session, "GET", url, headers={}, limits=limits).body
            changed += body != self._bodies.get(repository)
            self._bodies[repository] = body
        return changed

    def close(self) -> None:
        self._pool.shutdown()
        self._session.close()


# -- the cases ----------------------------------------------------------------------------------------


def same_list(told: Told) -> Found:
    """A list of 10,000 tags that is the same as before, beside asking for it and comparing."""
    with registry(ONE_LIST) as host, tempfile.TemporaryDirectory(prefix="automator-bench-") as folder:
        repository = parse_repository(f"{host}/team/app")
        client = RegistryClient({host: HostSettings(insecure=True)})
        with Store.open(Path(folder, "state")) as store:
            observer = Observer(client, store)

            def look() -> set[Repository]:
                return observer.look({repository: True}, (), utc_now(), all_due=True).changed

            first, _ = timed(look), look()
            memory = peak_memory()
            comparing = _Comparing(host, [repository], 1)
            found = _alternating(WEIGHT * told.runs, look, comparing, first, memory)
            observer.close()
            comparing.close()
        client.close()
        return found


def same_lists(told: Told) -> Found:
    """A cycle of all workloads whose lists are the same as before, beside asking for them and comparing."""
    with registry(EACH) as host, tempfile.TemporaryDirectory(prefix="automator-bench-") as name:
        folder = Path(name)
        repo = _config_repo(folder, told, host)
        config = folder / "config.toml"
        config.write_text(
            f'state = "state"\n[repos.bench]\nurl = "{repo.bare}"\n[registries."{host}"]\ninsecure = true\n'
        )
        with App.open(load(config, {}), exclusive=True) as app:
            cycle = app.cycles["bench"]
            first, _ = timed(lambda: _all_current(cycle)), _all_current(cycle)
            memory = peak_memory()
            repositories = list(map(parse_repository, repo.images))
            comparing = _Comparing(host, repositories, cycle.observer.concurrency(host))
            found = _alternating(told.runs, lambda: _all_current(cycle), comparing, first, memory)
            comparing.close()
            return found


def cold_lists(told: Told) -> Found:
    """A first cycle of all workloads, clone and index included, beside python-semver reading all tags."""
    with tempfile.TemporaryDirectory(prefix="automator-bench-") as name:
        repo = _config_repo(Path(name), told, "registry.example.com")
        told = told._replace(url=str(repo.bare), images=repo.images)
        bodies = [tag_list(image, EACH) for image in repo.images]

        def start(_: int) -> Cost:
            with program(told) as (cycle, registry):
                _fill(registry, bodies)
                gc.collect()
                return timed(lambda: _all_current(cycle))

        def read(_: int) -> Cost:
            lists = [json.loads(body)["tags"] for body in bodies]
            parse = semver.Version.parse
            return timed(lambda: [parse(tag) for tags in lists for tag in tags])

        first = start(0)
        memory = peak_memory()
        pair = alternate(min(MOST_COLD, told.runs), start, read, warm=0)
        return Found(pair, memory, 0, first)


def _alternating(
    runs: int, ours: Callable[[], object], comparing: _Comparing, first: Cost, memory: float
) -> Found:
    """Both in turn; the memory is that of ours, measured before there was a yardstick."""

    def compare() -> None:
        assert comparing.ask() == 0, "the registry answered otherwise"

    pair = alternate(runs, lambda _: timed(ours), lambda _: timed(compare), warm=3)
    return Found(pair, memory, 0, first)


def _config_repo(folder: Path, told: Told, host: str) -> ConfigRepo:
    count = len(told.images)
    shape = Shape("lists", files=count, images=count, workloads=count)
    return make_config_repo(folder, shape, host, tag=NEWEST)


def _fill(registry: MemoryRegistry, bodies: Sequence[bytes]) -> None:
    for body in bodies:
        told = json.loads(body)
        registry.fill(parse_repository(told["name"]), tuple(told["tags"]))


def _all_current(cycle: Cycle) -> None:
    report = cycle.run(ALL)
    assert report.error is None, report.error
    odd = [outcome for outcome in report.outcomes if outcome.reason.code != "current/newest"]
    assert not odd, odd[0]
    assert report.outcomes, "no workloads"


CASES = {case.__name__: case for case in (same_list, same_lists, cold_lists)}


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve(int(sys.argv[2]), float(sys.argv[3]))
    else:
        cases.main(CASES)
