"""Drift: one look at a large cluster beside reading the same lists, and what it says beside what was read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import requests

from automator.app.build import App
from automator.app.runtimes import Look, Place, Tip, places_of, tip_of
from automator.config import Config, load
from automator.core.drift import DriftState, Said, Says
from automator.core.running import Observation
from bench.cluster import REPOSITORY, TAG, Size, image_of, name_of, objects, serve
from bench.inputs import git
from bench.measure import Cost, alternate, peak_memory, timed
from bench.rows import Row, beside, main

SIZE = Size(workloads=1_000, pods=10, syncs=2_000)
LISTS = (
    *(f"apis/apps/v1/{plural}" for plural in ("deployments", "statefulsets", "daemonsets", "replicasets")),
    *("apis/batch/v1/cronjobs", "apis/batch/v1/jobs", "api/v1/pods"),
    "apis/source.toolkit.fluxcd.io/v1/gitrepositories",
    "apis/kustomize.toolkit.fluxcd.io/v1/kustomizations",
)
MANIFEST = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  template:
    spec:
      containers:
        - name: app
          image: {image}:{tag}
"""


class Seen(NamedTuple):
    """A place, what Git says, and what was seen there."""

    place: Place
    tip: Tip
    observation: Observation


def drift(runs: int, folder: Path) -> Iterator[Row]:
    """Drift: a look at a cluster of 10,000 pods and 2,000 Kustomizations of Flux, beside requests and json
    reading the same lists; then judging 1,000 workloads by it, with 2,000 Kustomizations in Git: once all run
    what Git says, once none does."""
    commit = _write_config_repo(folder, SIZE)
    with serve(objects(SIZE, commit)) as address:
        config = _config(folder, address)
        app = App.open(config, exclusive=True)
        try:
            tip = tip_of(config, "shop", app.cycles["shop"].read())
            (place,) = places_of(config)
            yield _reading(place, address, runs)
            seen = _seen(place, tip)
            yield from _judging(seen, runs)
            place.close()
        finally:
            app.close()


def _write_config_repo(folder: Path, size: Size) -> str:
    """A base and an overlay for each workload; its commit."""
    work = folder / "work"
    for number in range(size.workloads):
        base, overlay = work / f"bases/{number:05}", work / f"overlays/{number:05}"
        base.mkdir(parents=True)
        overlay.mkdir(parents=True)
        text = MANIFEST.format(name=name_of(number), image=image_of(number), tag=TAG)
        (base / "deployment.yaml").write_text(text)
        (base / "kustomization.yaml").write_text("resources: [deployment.yaml]\n")
        (overlay / "kustomization.yaml").write_text(f"resources: [../../bases/{number:05}]\n")
    lines = ["version: 1", "workloads:"]
    for number in range(size.workloads):
        lines += [f"  {name_of(number)}:", f"    image: {image_of(number)}", '    semver: ">=1.0 <2"']
    (work / "policies").mkdir()
    (work / "policies" / "all.yaml").write_text("\n".join(lines) + "\n")
    git(work, "init", "--quiet", "--initial-branch", "main")
    git(work, "add", ".")
    git(work, "commit", "--quiet", "--message", "Everything")
    git(folder, "clone", "--quiet", "--bare", str(work), str(folder / "shop.git"))
    return git(work, "rev-parse", "HEAD")


def _config(folder: Path, address: str) -> Config:
    told = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": address}}],
    }
    (folder / "kubeconfig").write_text(json.dumps(told))
    (folder / "config.toml").write_text(
        f'state = "{folder}/state"\n[repos.shop]\nurl = "{folder}/shop.git"\n'
        f'[runtimes.here]\ntype = "kubernetes"\nkubeconfig = "{folder}/kubeconfig"\nstatus = ["flux"]\n'
    )
    return load(folder / "config.toml", {})


def _reading(place: Place, address: str, runs: int) -> Row:
    def look(_: int) -> Cost:
        return timed(lambda: _asked(place))

    def read(_: int) -> Cost:
        with requests.Session() as session:
            return timed(lambda: [_items(session, f"{address}/{path}") for path in LISTS])

    pair = alternate(runs, look, read)
    note = f"{len(_asked(place).running):,} running, peak {peak_memory():.0f} MB"
    return beside("a look at 10,000 pods", "requests and json", pair, 2.0, note)


def _asked(place: Place) -> Observation:
    seen = place.ask(lambda: datetime.now(UTC))
    if not isinstance(seen, Observation):
        raise RuntimeError(seen.reason.sentence)
    return seen


def _items(session: requests.Session, url: str) -> int:
    count, follow = 0, ""
    while True:
        query = {"limit": "500", **({"continue": follow} if follow else {})}
        told = json.loads(session.get(url, params=query, timeout=60).content)
        count += len(told["items"])
        follow = told["metadata"].get("continue", "")
        if not follow:
            return count


def _seen(place: Place, tip: Tip) -> Seen:
    """The config repo goes by the address that Flux has it from."""
    return Seen(place, replace(tip, source=tip.source._replace(url=REPOSITORY)), _asked(place))


def _judging(seen: Seen, runs: int) -> Iterator[Row]:
    first = timed(lambda: _judged(seen, DriftState.SAME))
    behind = tuple(replace(one, reference=f"{one.reference}-old") for one in seen.observation.running)
    late = seen._replace(observation=replace(seen.observation, running=behind))
    rows = (
        ("judging 1,000 workloads", seen, DriftState.SAME, 0.2, f"the first time {first.wall:.2f} s"),
        ("judging 1,000 that all wait", late, DriftState.PENDING, 0.4, ""),
    )
    for name, told, state, target, note in rows:
        pair = alternate(
            runs,
            lambda _, told=told, state=state: timed(lambda: _judged(told, state)),
            lambda _: timed(lambda: _asked(seen.place)),
        )
        yield beside(name, "the look", pair, target, note)


def _judged(seen: Seen, state: DriftState) -> Look:
    """Raises RuntimeError where it is judged wrong."""
    now = datetime.now(UTC)

    def says(names: Iterable[str]) -> Mapping[str, Says]:
        return dict.fromkeys(names, Says((Said(TAG, None, now),)))

    look = seen.place.judge(seen.tip, seen.observation, now, earlier={}, says=says)
    if len(look.drifts) != SIZE.workloads or {drift.state for drift in look.drifts} != {state}:
        raise RuntimeError(f"not all are {state}: {look.drifts[:3]}")
    return look


PARTS = {"drift": drift}

if __name__ == "__main__":
    main(PARTS)
