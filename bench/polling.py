"""Polling a real registry: requests, processor time, latency, memory, and from an event to the commit.

Debian's docker-registry holds 1,000 repositories of 100 tags; nginx stands before it where TLS is
measured. Every yardstick runs in the same process, in turn with ours.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import requests

from automator.app.build import App, utc_now
from automator.config import load
from automator.core.reference import Repository, parse_repository
from bench.inputs import ConfigRepo, Shape, generator, git, make_config_repo, push_tag
from bench.lists import delayed_registry, registry
from bench.measure import Cost, Pair, alternate, median, peak_memory, timed

REPOSITORIES, TAGS = 1_000, 100
CONCURRENCY = 8
LATENCY = 0.05
"""Seconds that are added to every answer of the far registry."""
KNOWN = 1_000
"""Tags of each repository where a million are known."""
EVENTS = 21
PREFIX = "team/app"


class Row(NamedTuple):
    """One figure beside its yardstick."""

    name: str
    limit_name: str
    ours: Cost
    limit: Cost
    ratio: float
    target: float
    note: str = ""

    @property
    def missed(self) -> bool:
        return self.ratio > self.target


COLUMNS = ("polling", "yardstick", "s", "CPU s", "yardstick s", "CPU s", "ratio", "target", "")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def line(row: Row) -> str:
    """A row of the table."""
    target = f"{row.target:.2f}" + (" MISSED" if row.missed else "")
    cells = (
        row.name,
        row.limit_name,
        *(f"{figure:.4f}" for figure in (*row.ours, *row.limit)),
        f"{row.ratio:.2f}",
        target,
        row.note,
    )
    return f"| {' | '.join(cells)} |"


def plain(row: Row) -> dict[str, object]:
    """A row for programs."""
    return {**row._asdict(), "ours": row.ours._asdict(), "limit": row.limit._asdict()}


def rows(runs: int) -> Iterator[Row]:
    """Every figure, each case in a process of its own. Says which programs are missing, if any."""
    missing = [program for program in ("docker-registry", "nginx") if _program(program) is None]
    if missing:
        print(f"not measured, since {' and '.join(missing)} is not installed: Debian has it", flush=True)
        return
    for case in CASES:
        done = subprocess.run(
            [sys.executable, "-m", "bench.polling", case, str(runs)], stdout=subprocess.PIPE, check=True
        )
        for told in map(json.loads, done.stdout.splitlines()):
            row = Row(*told)
            yield row._replace(ours=Cost(*row.ours), limit=Cost(*row.limit))


# -- the registry ---------------------------------------------------------------------------------------


@contextmanager
def docker_registry(
    folder: Path, count: int = REPOSITORIES, *, tags: int = TAGS, level: str = "error"
) -> Iterator[str]:
    """Debian's docker-registry with `count` repositories of so many tags; gives its host. At the level `info`
    it writes every answer to registry.log."""
    port = free_port()
    host = f"127.0.0.1:{port}"
    mk = [sys.executable, str(generator("mk_registry.py"))]
    root = folder / "registry"
    config = subprocess.run(
        [*mk, "conf", "--root", str(root), "--addr", host, "--level", level],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    (folder / "registry.yml").write_bytes(config)
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "registry.yml")], stdout=log, stderr=log
        )
    try:
        wait_for(port)
        naming = ["--registry", host, "--prefix", PREFIX, "--repos", "1"]
        filling = ["--tags", str(tags), "--suffix-share", "0", "--digests", "repo"]
        subprocess.run([*mk, "fill", *naming, *filling], stdout=subprocess.DEVNULL, check=True)
        _multiply(root, count)
        yield host
    finally:
        process.terminate()
        process.wait()


def _multiply(root: Path, count: int) -> None:
    """Make many repositories of the one that was filled: links to its folder, which is read for each."""
    below = root / "docker/registry/v2/repositories" / PREFIX
    (one,) = below.parent.iterdir()
    for number in range(count):
        target = below.parent / _name(number).rpartition("/")[2]
        if target != one:
            target.symlink_to(one.name)


def _name(number: int) -> str:
    return f"{PREFIX}{number:03d}"


@contextmanager
def tls_front(folder: Path, host: str) -> Iterator[tuple[str, Path]]:
    """nginx with TLS before a registry; gives its host and the file of its authority."""
    from bench.certificates import self_signed

    port = free_port()
    certificate, key = self_signed(folder)
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n"
        "events { worker_connections 256; }\n"
        "http { access_log off; keepalive_requests 10000000;\n"
        f" client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
        f" fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n"
        f" upstream registry {{ server {host}; keepalive 32; }}\n"
        f" server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};\n"
        '  location / { proxy_pass http://registry; proxy_http_version 1.1; proxy_set_header Connection "";\n'
        f"   proxy_set_header Host 127.0.0.1:{port}; }} }} }}\n"
    )
    process = subprocess.Popen([_program("nginx") or "nginx", "-c", str(config)])
    try:
        wait_for(port)
        yield f"127.0.0.1:{port}", certificate
    finally:
        process.terminate()
        process.wait()


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin")))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def wait_for(port: int) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


# -- ours and the yardsticks ----------------------------------------------------------------------------


@contextmanager
def polling(folder: Path, host: str, count: int, *, ca: Path | None = None) -> Iterator[Callable[[], object]]:
    """A look at all repositories of a registry, with the parts that a config gives."""
    config = folder / "config.toml"
    trust = f'ca_file = "{ca}"' if ca is not None else "insecure = true"
    config.write_text(
        f'state = "state"\n[repos.bench]\nurl = "{folder}"\n[registries."{host}"]\n{trust}\n'
        f"concurrency = {CONCURRENCY}\nrequests_per_second = 10000\n"
    )
    watched = {Repository(host, _name(number)): True for number in range(count)}
    with App.open(load(config, {}), exclusive=True) as app:
        observer = app.cycles["bench"].observer

        def look() -> None:
            changed = observer.look(watched, (), utc_now(), all_due=True).changed
            assert not changed or not seen, "a list has changed, or was not had"
            seen.append(len(changed))

        seen: list[int] = []
        look()
        odd = [r for r in watched if not hasattr(observer.tags(r), "tags")]
        assert not odd, observer.tags(odd[0])
        yield look
        assert len(seen) > 1, "nothing was measured"


def _urls(host: str, count: int, *, scheme: str = "http") -> list[str]:
    return [f"{scheme}://{host}/v2/{_name(number)}/tags/list?n=1000" for number in range(count)]


def bare_threads(urls: Sequence[str]) -> Callable[[], object]:
    """As many threads as ours has places, each with a session and its share of prepared requests."""
    shares = [urls[start::CONCURRENCY] for start in range(CONCURRENCY)]
    sessions = [requests.Session() for _ in shares]
    prepared = [
        [session.prepare_request(requests.Request("GET", url)) for url in share]
        for session, share in zip(sessions, shares, strict=True)
    ]
    pool = ThreadPoolExecutor(CONCURRENCY)

    def ask(number: int) -> int:
        return sum(len(sessions[number].send(one).content) for one in prepared[number])

    return lambda: sum(pool.map(ask, range(CONCURRENCY)))


def one_thread(urls: Sequence[str], ca: Path | None = None) -> Callable[[], object]:
    """What anybody would write: one session, one loop."""
    session = requests.Session()
    verify: bool | str = True if ca is None else str(ca)
    return lambda: [session.get(url, verify=verify).content for url in urls]


def wrk(url: str) -> str:
    """Requests in a second that the registry can give at all, by wrk, where it is installed."""
    if shutil.which("wrk") is None:
        return ""
    done = subprocess.run(
        ["wrk", "-t1", f"-c{CONCURRENCY}", "-d3s", url], stdout=subprocess.PIPE, text=True, check=True
    )
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    return f"wrk: {float(found[1]):,.0f}/s" if found else ""


# -- the cases ------------------------------------------------------------------------------------------


def throughput(runs: int, folder: Path) -> Iterator[Row]:
    """As many requests in a second as bare threads send."""
    with docker_registry(folder) as host, polling(folder, host, REPOSITORIES) as look:
        urls = _urls(host, REPOSITORIES)
        bare = bare_threads(urls)
        pair = alternate(runs, lambda _: timed(look), lambda _: timed(bare))
        ours, limit = median(pair.ours), median(pair.limit)
        note = f"{REPOSITORIES / ours.wall:,.0f}/s of {REPOSITORIES / limit.wall:,.0f}/s"
        beside = wrk(urls[0])
        name = f"{REPOSITORIES:,} unchanged lists, {CONCURRENCY} at a time"
        yield Row(
            name,
            f"prepared requests, {CONCURRENCY} threads",
            ours,
            limit,
            pair.ratio,
            1 / 0.9,
            f"{note}; {beside}" if beside else note,
        )


def processor(runs: int, folder: Path) -> Iterator[Row]:
    """The processor time of an unchanged poll, over plain HTTP and over TLS."""
    with docker_registry(folder) as host:
        with polling(folder, host, REPOSITORIES) as look:
            loop = one_thread(_urls(host, REPOSITORIES))
            yield _by_processor("unchanged lists, plain HTTP", runs, look, loop)
        with tls_front(folder, host) as (front, ca), polling(folder, front, REPOSITORIES, ca=ca) as look:
            loop = one_thread(_urls(front, REPOSITORIES, scheme="https"), ca)
            yield _by_processor("unchanged lists, TLS", runs, look, loop)


def _by_processor(name: str, runs: int, ours: Callable[[], object], limit: Callable[[], object]) -> Row:
    pair = alternate(runs, lambda _: timed(ours), lambda _: timed(limit))
    ratio = statistics.median(a.cpu / b.cpu for a, b in zip(pair.ours, pair.limit, strict=True))
    told = f"{REPOSITORIES:,} {name}: processor time"
    return Row(
        told, "session.get in one thread", median(pair.ours), median(pair.limit), ratio, 1.3, "0.8 hoped for"
    )


def latency(runs: int, folder: Path) -> Iterator[Row]:
    """With a far registry, the time of the concurrency allowed."""
    count = REPOSITORIES // 5
    with delayed_registry(TAGS, LATENCY) as host, polling(folder, host, count) as look:
        ours = [timed(look) for _ in range(min(runs, 5))]
        ideal = Cost(count / CONCURRENCY * LATENCY, 0.0)
        pair = Pair(tuple(ours), (ideal,) * len(ours))
        name = f"{count:,} lists, {LATENCY * 1000:.0f} ms away, {CONCURRENCY} at a time"
        yield Row(name, "the sum of the waits / concurrency", median(pair.ours), ideal, pair.ratio, 1.3)


def memory(runs: int, folder: Path) -> Iterator[Row]:
    """A million tags known, in a process that polls them."""
    with registry(KNOWN) as host, polling(folder, host, REPOSITORIES) as look:
        cost = timed(look)
        used = peak_memory()
        limit = 200.0
        note = f"{used:.0f} MB of {limit:.0f} MB"
        yield Row("1,000,000 tags known: memory", "200 MB", cost, cost, used / limit, 1.0, note)


def event(runs: int, folder: Path) -> Iterator[Row]:
    """From an event to the commit, beside a tags request and a push of a ready commit."""
    with docker_registry(folder, 1) as host:
        repo = make_config_repo(folder, Shape("event", files=1, images=1, workloads=1), host, tag="1.0.0")
        with _daemon(folder, repo, host) as send:
            releases = range(max(runs, EVENTS) + 2)
            pairs = [(_released(send, repo, host, n), _by_hand(repo, host, n, folder)) for n in releases][2:]
        pair = Pair(tuple(a for a, _ in pairs), tuple(b for _, b in pairs))
        name = "from an event to the commit"
        yield Row(name, "a tags request and git push", median(pair.ours), median(pair.limit), pair.ratio, 2.0)


@contextmanager
def _daemon(folder: Path, repo: ConfigRepo, host: str) -> Iterator[Callable[[], object]]:
    """A daemon that looks once an hour, or when an event comes; gives what sends one."""
    port = free_port()
    (folder / "secret").write_text("Bearer only for this benchmark\n")
    config = folder / "daemon.toml"
    config.write_text(
        f'state = "daemon"\n[daemon]\ninterval = "1h"\nlisten = ""\nhooks_listen = "127.0.0.1:{port}"\n'
        f'[repos.bench]\nurl = "{repo.bare}"\n[registries."{host}"]\ninsecure = true\n'
        '[hooks.registry]\nsender = "distribution"\nsecret_file = "secret"\n'
    )
    path = parse_repository(repo.images[0]).path
    body = {
        "events": [
            {"action": "push", "request": {"host": host}, "target": {"repository": path, "tag": "new"}}
        ]
    }
    session = requests.Session()
    headers = {
        "Authorization": "Bearer only for this benchmark",
        "Content-Type": "application/vnd.docker.distribution.events.v1+json",
    }

    def send() -> None:
        answer = session.post(f"http://127.0.0.1:{port}/hooks/registry", json.dumps(body), headers=headers)
        assert answer.status_code == 202, answer.text

    words = [sys.executable, "-m", "automator", "--config", str(config), "run"]
    log = folder / "daemon.log"
    with log.open("wb") as out, subprocess.Popen(words, stdout=out, stderr=out) as process:
        try:
            wait_for(port)
            while b"cycle" not in log.read_bytes():
                assert process.poll() is None, log.read_text()
                time.sleep(0.01)
            yield send
        finally:
            process.terminate()


def _released(send: Callable[[], object], repo: ConfigRepo, host: str, number: int) -> Cost:
    """The time from the event of a push, sent at once, to the commit in the config repo."""
    push_tag(host, repo.shape, 1, f"1.99.{number}")
    head = git(repo.bare, "rev-parse", "main")
    branch = str(repo.bare / "refs/heads/main")
    before = _inode(branch)

    def wait() -> None:
        send()
        end = time.monotonic() + 30
        # Git puts a new file in the place of the old one. Nothing dearer: whoever measures takes no part of
        # a processor that by hand nobody takes.
        while _inode(branch) == before:
            assert time.monotonic() < end, "no commit came of the event"
            time.sleep(0.0005)

    cost = timed(wait)
    assert git(repo.bare, "rev-parse", "main") != head
    # Events that follow within a second are gathered into one cycle, which is not what is measured.
    time.sleep(1.1)
    return cost


def _inode(file: str) -> int | None:
    try:
        return os.stat(file).st_ino
    except FileNotFoundError:
        return None


def _by_hand(repo: ConfigRepo, host: str, number: int, folder: Path) -> Cost:
    """The time of one tags request and one push of a commit that is ready."""
    work = folder / "work"
    if not work.exists():
        git(folder, "clone", "--quiet", str(repo.twin), str(work))
    (work / "by-hand").write_text(f"{number}\n")
    git(work, "add", "by-hand")
    git(work, "commit", "--quiet", "--message", f"By hand {number}")
    path = parse_repository(repo.images[0]).path

    def push() -> None:
        requests.get(f"http://{host}/v2/{path}/tags/list", timeout=10).json()
        git(work, "push", "--quiet", "origin", "HEAD:main")

    return timed(push)


CASES = {case.__name__: case for case in (throughput, processor, latency, memory, event)}


def _main(case: str, runs: int) -> None:
    with tempfile.TemporaryDirectory(prefix="automator-bench-") as folder:
        for row in CASES[case](runs, Path(folder)):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
