"""A flood: hook requests by the hundred in a second, half of them junk, while probes are answered too."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import itertools
import json
import re
import socket
import statistics
import threading
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from bench.figures import Figure, Scale
from bench.inputs import git
from bench.running import NEWEST, SECRET, Running, World, wait, world

RATE = 200
"""Hook requests in a second, every second one of them junk."""
SENDERS = 16
PROBE_PACE = 0.05
"""Seconds between two rounds of probes."""
PROBES = ("/healthz", "/readyz")
PATIENCE = 100.0
"""Milliseconds that 99 of 100 probes are answered within."""
GROWTH = 5.0
"""Percent that the memory may grow by."""
WARM = 0.1
"""Share of the flood after which memory is read for the first time."""
FRESH = 25
"""Of so many valid requests one tells of a tag that is new."""
DRAINED = 60.0
"""Seconds after the end in which the last repositories must be looked at."""
HOOKS = (
    '[hooks.registry]\nsender = "distribution"\nsecret_file = "secret"\n'
    '[hooks.ci]\nsender = "generic"\nsecret_file = "secret"\n'
)
ANSWER = re.compile(
    r'^time="([^"]+)" .*http\.request\.method=GET .*http\.request\.uri="?/v2/([^ ?"]+)/tags/list'
    r'.*http\.response\.duration="?([\d.]+)(µs|ms|s)"?'
)
UNITS = {"µs": 1e-6, "ms": 1e-3, "s": 1.0}


class Sent(NamedTuple):
    """One request of the flood."""

    kind: str
    at: float
    """When it was begun to be sent, seconds since the epoch."""
    status: int | None
    """None where it was not answered."""
    repository: str | None
    """Which repository a valid one is about."""


@dataclass
class Flood:
    """Sends, at a pace that does not wait for answers, from several threads."""

    made: World
    daemon: Running
    seconds: float
    sent: list[Sent] = field(default_factory=list)
    probes: list[float] = field(default_factory=list)
    """Seconds that each probe took; those that failed took for ever."""
    newest: dict[int, str] = field(default_factory=dict)
    """Workload -> the newest of the tags that were pushed meanwhile."""

    def run(self) -> None:
        """Send everything, and probe meanwhile."""
        began = time.monotonic()
        total = int(self.seconds * RATE)
        numbers = itertools.count()
        over = threading.Event()
        lock = threading.Lock()

        def send() -> None:
            while True:
                with lock:
                    number = next(numbers)
                if number >= total:
                    return
                pause = began + number / RATE - time.monotonic()
                if pause > 0:
                    time.sleep(pause)
                self.sent.append(self._one(number))

        threads = [threading.Thread(target=send) for _ in range(SENDERS)]
        prober = threading.Thread(target=self._probe, args=(over,))
        for thread in (*threads, prober):
            thread.start()
        for thread in threads:
            thread.join()
        over.set()
        prober.join()

    def _one(self, number: int) -> Sent:
        if number % 2:
            return self._junk(number // 2)
        valid = number // 2
        workload = valid * 7 % len(self.made.repo.images)
        tag = NEWEST
        if valid % FRESH == 0 and self._is_calm(valid):
            tag = f"1.2.{valid}"
            self.made.push(workload, tag)
            self.newest[workload] = tag
        at = time.time()
        path = self.made.path(workload)
        send = self._as_registry if valid % 2 else self._as_ci
        return Sent("valid", at, send(path, tag), path)

    def _is_calm(self, valid: int) -> bool:
        """Whether there is time for a release before everything ends."""
        return valid * 2 < RATE * self.seconds * 0.9

    def _as_registry(self, path: str, tag: str, secret: str = SECRET) -> int | None:
        target = {"repository": path, "tag": tag}
        event = {"action": "push", "request": {"host": self.made.host}, "target": target}
        return self._post("registry", json.dumps({"events": [event]}).encode(), _bearer(secret))

    def _as_ci(self, path: str, tag: str, secret: str = SECRET) -> int | None:
        body = json.dumps({"image": f"{self.made.host}/{path}:{tag}"}).encode()
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return self._post("ci", body, {"X-Signature": f"sha256={signature}"})

    def _junk(self, number: int) -> Sent:
        path = self.made.path(number % len(self.made.repo.images))
        kinds: Sequence[tuple[str, Callable[[], int | None]]] = (
            ("wrong secret", lambda: self._as_registry(path, NEWEST, "another-secret-of-somebody")),
            ("wrong signature", lambda: self._as_ci(path, NEWEST, "another-secret-of-somebody")),
            ("garbage", lambda: self._post("registry", b"\xff{" * 200, _bearer(SECRET))),
            ("no such hook", lambda: self._post("nowhere", b"{}", {})),
            ("not HTTP", self._noise),
        )
        kind, send = kinds[number % len(kinds)]
        at = time.time()
        return Sent(kind, at, send(), None)

    def _post(self, hook: str, body: bytes, headers: Mapping[str, str]) -> int | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.daemon.hooks_port, 30)
        try:
            head = {"Content-Type": "application/json", **headers}
            connection.request("POST", f"/hooks/{hook}", body, head)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return answer.status

    def _noise(self) -> int | None:
        try:
            with socket.create_connection(("127.0.0.1", self.daemon.hooks_port), 30) as sock:
                sock.sendall(b"\x16\x03\x01" + b"\0\xff" * 60 + b"\r\n\r\n")
                return int((sock.recv(64).split() or [b"", b"0"])[1])
        except (OSError, ValueError):
            return None

    def _probe(self, over: threading.Event) -> None:
        while not over.wait(PROBE_PACE):
            for path in PROBES:
                began = time.perf_counter()
                try:
                    self.daemon.ask(path)
                except (OSError, RuntimeError):
                    self.probes.append(float("inf"))
                else:
                    self.probes.append(time.perf_counter() - began)


def flood(scale: Scale, folder: Path) -> Iterator[Figure]:
    """A flood of hook requests, half of them junk: who is looked at, how probes fare, and the memory."""
    with world(folder, scale) as made:
        daemon = Running(folder, "flood", str(made.repo.bare), made.host, more=HOOKS)
        try:
            daemon.start()
            wait(daemon.is_ready, "the first cycle")
            began = time.time()
            meant = Flood(made, daemon, scale.flood)
            running = threading.Thread(target=meant.run)
            running.start()
            time.sleep(WARM * scale.flood)
            before = daemon.use()
            running.join()
            ended = time.time()
            after = daemon.use()
            yield from _figures(meant, began, ended)
            yield Figure(
                "memory (VmRSS) at the end of the flood",
                f"{after.resident:.1f} MB",
                f"after {WARM * scale.flood:.0f} s of it: {before.resident:.1f} MB",
                100 * (after.resident / before.resident - 1),
                GROWTH,
                "%",
                f"{before.files} and {after.files} files, {before.threads} and {after.threads} threads",
            )
        finally:
            daemon.end()


def _figures(meant: Flood, began: float, ended: float) -> Iterator[Figure]:
    valid = [sent for sent in meant.sent if sent.kind == "valid"]
    taken = [sent for sent in valid if sent.status == 202]
    answers = Counter((sent.kind, sent.status) for sent in meant.sent if sent.kind != "valid")
    bad = {"wrong secret": 401, "wrong signature": 401, "garbage": 400, "no such hook": 404, "not HTTP": 400}
    odd = sum(count for (kind, status), count in answers.items() if bad[kind] != status)
    yield Figure(
        f"hook requests in {meant.seconds:.0f} s",
        f"{len(meant.sent):,}: {len(meant.sent) / (ended - began):.0f}/s",
        f"{RATE}/s",
        len(valid) - len(taken) + odd,
        0,
        "answered otherwise",
        f"{len(valid):,} valid, {sum(answers.values()):,} junk: "
        + ", ".join(
            f"{kind} {status} ({count:,})" for (kind, status), count in sorted(answers.items(), key=str)
        ),
    )
    lost, waits, looks = _looked_at(meant, valid, began)
    about = len({sent.repository for sent in valid})
    yield Figure(
        "valid hooks whose repository was not looked at after them",
        str(lost),
        f"{looks:,} looks at {about:,} repositories, by the registry's log",
        lost,
        0,
        "lost",
        f"seconds to the look: median {statistics.median(waits):.2f}, longest {max(waits):.2f}"
        if waits
        else "",
    )
    with suppress(TimeoutError):
        wait(lambda: not _behind(meant), "the releases", DRAINED)
    behind = len(_behind(meant))
    yield Figure(
        "workloads with a new tag in the flood that were not released",
        str(behind),
        f"{len(meant.newest)} workloads",
        behind,
        0,
        "lost",
        f"{meant.made.releases()} releases",
    )
    took = sorted(1000 * each for each in meant.probes)
    p99 = took[min(len(took) - 1, int(len(took) * 0.99))]
    yield Figure(
        "probes meanwhile, 99th percentile",
        f"{p99:.1f} ms",
        f"{len(took):,} of {' and '.join(PROBES)}",
        p99,
        PATIENCE,
        "ms",
        f"median {statistics.median(took):.1f} ms, longest {took[-1]:.1f} ms",
    )


def _behind(meant: Flood) -> list[str]:
    """Workloads that were not released at the newest of their tags."""
    wanted = {f"{meant.made.path(n).rpartition('/')[2]} {tag}" for n, tag in meant.newest.items()}
    subjects = git(meant.made.repo.bare, "log", "--format=%s", "main").splitlines()
    return sorted(wanted - {subject.removeprefix("Release ") for subject in subjects})


def _looked_at(meant: Flood, valid: Sequence[Sent], began: float) -> tuple[int, list[float], int]:
    """How many hooks were followed by no look at their repository; how long the others waited; all looks."""
    end = time.monotonic() + DRAINED
    while True:
        looks = _looks(meant.made.registry_log, began)
        waits, lost = [], 0
        for sent in valid:
            times = looks.get(sent.repository or "", [])
            later = bisect_left(times, sent.at)
            if later < len(times):
                waits.append(times[later] - sent.at)
            else:
                lost += 1
        if not lost or time.monotonic() > end:
            return lost, waits, sum(map(len, looks.values()))
        time.sleep(0.5)


def _looks(log: Path, since: float) -> dict[str, list[float]]:
    """Repository -> when the registry was asked for its tags, in order, by the registry's own log: it writes
    when it has answered, and how long that took."""
    found = defaultdict[str, list[float]](list)
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if match := ANSWER.match(line):
                moment, path, duration, unit = match.groups()
                at = datetime.fromisoformat(moment).timestamp() - float(duration) * UNITS[unit]
                if at >= since:
                    found[path].append(at)
    return {path: sorted(times) for path, times in found.items()}


def _bearer(secret: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {secret}",
        "Content-Type": "application/vnd.docker.distribution.events.v1+json",
    }


PARTS = {"flood": flood}
