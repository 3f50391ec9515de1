"""History: reading back a branch of 100,000 commits with 10,000 releases, beside git reading it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from automator import set_image
from automator.app.build import App
from automator.config import load
from automator.core.delivery.change import Change, Wanted
from automator.core.history import HeldValue
from automator.core.record import Member, ReleaseRecord
from automator.core.release import compose
from automator.core.site import Site
from automator.cycle.logbook import MENTION
from automator.cycle.run import Cycle, Trigger
from bench.cases import MemoryRegistry
from bench.inputs import ConfigRepo, Shape, git, make_config_repo
from bench.measure import Cost, Pair, alternate, peak_memory, timed
from bench.rows import Row, beside, main

SHAPE = Shape("past", files=1_000, images=200, workloads=200)
COMMITS, RELEASES = 100_000, 10_000
BEGAN = datetime(2023, 1, 1, tzinfo=UTC)
PACE = timedelta(minutes=5)
TOUCHES = 20
"""Every so many commits of people also change a file that has an image, in another line."""
NEXT = 9
"""Commits that come after everything was read."""


def grow(repo: ConfigRepo, commits: int = COMMITS, releases: int = RELEASES) -> None:
    """Commits of people and releases of ours on top of a config repo, packed as a server keeps them."""
    git(repo.bare, "fast-import", "--quiet", feed=b"".join(_stream(repo, commits, releases)))
    git(repo.bare, "gc", "--quiet")


def _stream(repo: ConfigRepo, commits: int, releases: int) -> Iterator[bytes]:
    files = tuple(_files(repo).items())
    texts = {name: git_text(repo, name) for name, _ in files}
    versions = dict.fromkeys(texts, "1.0.0")
    every, released = commits // releases, 0
    for number in range(commits):
        if number % every == every - 1:
            name, image = files[released % len(files)]
            before, after = versions[name], f"1.0.{released // len(files) + 1}"
            setting = set_image(texts[name], image=image, to=after, path=name)
            assert setting.changed, (name, setting.held)
            texts[name], versions[name] = setting.text, after
            message = _message(name, image, before, after, setting.sites[0].field)
            yield _commit(number, "automator", message, name, texts[name])
            released += 1
        elif number % TOUCHES == 0:
            name, _ = files[number % len(files)]
            eol = "\r\n" if "\r\n" in texts[name] else "\n"
            texts[name] = f"{texts[name].rstrip()}{eol}# touched {number}{eol}"
            yield _commit(number, "Ann", f"Touch {name}\n\nNothing about images.\n", name, texts[name])
        else:
            note = f"notes/{number % 97}/{number % 89}.txt"
            yield _commit(
                number, "Bob", f"Note {number}\n\nAs was agreed in the meeting.\n", note, f"{number}\n"
            )


def _files(repo: ConfigRepo) -> dict[str, str]:
    """Each workload's file, and its image."""
    listing = git(repo.bare, "grep", "-l", "--full-name", "-e", "1[.]0[.]0", "main")
    texts = {name: git_text(repo, name) for name in (line.partition(":")[2] for line in listing.splitlines())}
    found = {}
    for name, text in texts.items():
        for image in repo.images:
            if image in text and set_image(text, image=image, to="1.0.1", path=name).changed:
                found[name] = image
    assert len(found) == len(repo.images), f"{len(found)} files of {len(repo.images)} images"
    return found


def git_text(repo: ConfigRepo, name: str) -> str:
    """A file of the branch, its line ends as they are."""
    done = subprocess.run(
        ["git", "cat-file", "blob", f"main:{name}"], cwd=repo.bare, stdout=subprocess.PIPE, check=True
    )
    return done.stdout.decode()


def _message(name: str, image: str, before: str, after: str, field: str) -> str:
    workload = image.rpartition("/")[2]
    site = (f"{name}#{field}",)
    member = Member(workload, image, before, after, site, BEGAN, None, "policies/team000.yaml")
    why = f'newest in semver ">=1.0 <2" of {len(after) * 7} tags, seen 31 minutes ago'
    return compose(ReleaseRecord("release", (member,)), why=why)


def _commit(number: int, who: str, message: str, name: str, text: str, *, follows: bool = False) -> bytes:
    moment = int((BEGAN + number * PACE).timestamp())
    data, words = text.encode(), message.encode()
    base = b"from refs/heads/main^0\n" if follows or number == 0 else b""
    return (
        b"commit refs/heads/main\n"
        + f"committer {who} <{who.lower()}@example.invalid> {moment} +0000\n".encode()
        + b"data %d\n%s\n%s" % (len(words), words, base)
        + b'M 100644 inline "%s"\ndata %d\n%s\n' % (name.encode(), len(data), data)
    )


# -- the part -------------------------------------------------------------------------------------------


@contextmanager
def reader(folder: Path, repo: ConfigRepo) -> Iterator[Cycle]:
    """A cycle whose clone has everything, as a daemon's has that has run for a while."""
    config = folder / "config.toml"
    config.write_text(
        f'state = "state"\n[repos.bench]\nurl = "{repo.bare}"\nhistory_limit = {10 * COMMITS}\n'
    )
    with App.open(load(config, {}), exclusive=True) as app:
        cycle = app.cycles["bench"]
        cycle.observer.registry = MemoryRegistry(repo.images)
        yield cycle


def history(runs: int, folder: Path) -> Iterator[Row]:
    """The log of all releases, and the mark rule's history of one workload, cold and going on."""
    repo = make_config_repo(folder, SHAPE, "registry.example.com")
    grow(repo)
    clone = folder / "state" / "repos" / "bench"
    with reader(folder, repo) as cycle:
        fetched = timed(cycle.logbook)
        tip = cycle.checkout.ask_tip()
        note = f"{COMMITS:,} commits, {RELEASES:,} releases; fetching all of them took {fetched.wall:.1f} s"
        yield from _claims(min(runs, 5), cycle, clone, note)
    yield from _proven(min(runs, 5), folder, repo, Printed.of(clone, tip))
    with reader(folder, repo) as cycle:
        yield from _marks(runs, cycle, clone, repo)
        yield from _news(runs, cycle, repo, folder)


class Printed(NamedTuple):
    """git printing the branch's log, in ever more detail."""

    releases: Callable[[], object]
    """The messages of the releases alone: git reads all of them to find these."""
    messages: Callable[[], object]
    """All messages."""
    changes: Callable[[], object]
    """All messages, and what each commit changed."""

    @classmethod
    def of(cls, clone: Path, tip: str) -> Printed:
        told = ("--first-parent", "--format=%H%n%B")
        return cls(
            _printed(clone, *told, f"--grep={MENTION}", "--fixed-strings", tip),
            _printed(clone, *told, tip),
            _printed(clone, *told, "--raw", "--no-abbrev", tip),
        )


def _claims(runs: int, cycle: Cycle, clone: Path, note: str) -> Iterator[Row]:
    """Every release, as git prints its message."""

    def claims(_: int) -> Cost:
        book = cycle.logbook()
        return timed(lambda: _all(sum(1 for _ in book.claims(Wanted()))))

    limit = Printed.of(clone, cycle.checkout.ask_tip()).releases
    pair = alternate(runs, claims, lambda _: timed(limit))
    yield beside("what messages claim (`log --claims`), cold", GREP, pair, 2.0, note)


def _proven(runs: int, folder: Path, repo: ConfigRepo, printed: Printed) -> Iterator[Row]:
    """Every release, put to the proof: by a program that has the clone and nothing else, and by one that
    knows the files of the past that a log had to parse before."""
    for known in (False, True):
        costs: list[tuple[Cost, ...]] = []
        for _ in range(1 + runs):
            if not known:
                for file in (folder / "state").glob("automator.sqlite*"):
                    file.unlink()
            with reader(folder, repo) as cycle:
                book = cycle.logbook()
                ours = timed(lambda book=book: _all(sum(bool(c.proven) for c in book.changes(Wanted()))))  # type: ignore[misc]
            costs.append((ours, *map(timed, printed)))
        mine, *limits = zip(*costs[1:], strict=True)
        name = "the log, each release proven, " + ("once more, by another process" if known else "cold")
        yield beside(name, "git log of all messages", Pair(mine, limits[1]), 2.0, f"{peak_memory():.0f} MB")
        yield beside("the same", GREP, Pair(mine, limits[0]), None)
        yield beside("the same", "git log --raw of every commit", Pair(mine, limits[2]), None)


GREP = "git log --grep, the messages of releases"


def _all(count: int) -> None:
    assert count == RELEASES, f"{count} releases read"


def _printed(clone: Path, *words: str) -> Callable[[], object]:
    """Git printing a log into a pipe that somebody reads."""
    command = ["git", "-C", str(clone), "log", *words]
    return lambda: subprocess.run(command, stdout=subprocess.PIPE, check=True)


def _marks(runs: int, cycle: Cycle, clone: Path, repo: ConfigRepo) -> Iterator[Row]:
    """What a decision needs to know of the past of one workload."""
    report = cycle.run(Trigger("command", all_due=True), push=False)
    assert report.error is None, report.error
    snapshot = cycle.index.snapshot
    assert snapshot is not None
    name, sites = sorted(snapshot.claims.sites.items())[0]
    (site,) = sites
    stays = RELEASES // SHAPE.workloads + 1

    def cold(_: int) -> Cost:
        cycle.facts.forget()
        cost = timed(lambda: cycle.facts.read_histories(sites))
        (found,) = cycle.facts.whole_histories(sites).values()
        assert len(getattr(found, "held", ())) == stays, found
        return cost

    limit = _printed(clone, "--first-parent", "--format=%H%n%B", snapshot.commit, "--", site.file)
    pair = alternate(min(runs, 5), cold, lambda _: timed(limit))
    yield beside(f"history of one workload ({name}), cold", "git log -- FILE", pair, 2.0)

    def following(run: int) -> Cost:
        _by_hand(repo, site, f"0.9.{run}", run)
        cost = timed(lambda: _take_in(cycle))
        (found,) = cycle.facts.whole_histories([_site_of(cycle, name)]).values()
        held: tuple[HeldValue, ...] = getattr(found, "held", ())
        assert len(held) == stays + run + 1, held
        assert held[0].tag == f"0.9.{run}", held[0]
        return cost

    pair = alternate(max(NEXT, runs), following, _plain_reader(clone.with_name("plain"), repo, site.file))
    fetching = "git fetch, git log OLD..NEW -- FILE"
    yield beside("the same, one more commit: fetched, located, read", fetching, pair, None, f"{_ms(pair)} ms")
    site = _site_of(cycle, name)
    again = tuple(timed(lambda: cycle.facts.read_histories([site])) for _ in range(9))
    quiet = Pair(again, again)
    yield beside("the same, nothing new", "itself", quiet, None, f"{_ms(quiet)} ms")


def _site_of(cycle: Cycle, name: str) -> Site:
    """The one site of a workload, as the index has it now."""
    snapshot = cycle.index.snapshot
    assert snapshot is not None
    (site,) = snapshot.claims.sites[name]
    return site


def _take_in(cycle: Cycle) -> None:
    """All that a commit of somebody else costs the history that is known."""
    tip = cycle.checkout.ask_tip()
    cycle.checkout.fetch(tip)
    cycle.index.move_to(tip)
    cycle.facts.catch_up()


def _plain_reader(clone: Path, repo: ConfigRepo, name: str) -> Callable[[int], Cost]:
    """Git alone doing that in a clone of its own, which is made here."""
    git(clone.parent, "clone", "--quiet", "--bare", str(repo.bare), str(clone))
    branch = "+refs/heads/main:refs/heads/main"

    def read(_: int) -> Cost:
        old = git(clone, "rev-parse", "main").strip()
        log = _printed(clone, "--first-parent", "--format=%H%n%B", f"{old}..main", "--", name)

        def both() -> None:
            git(clone, "fetch", "--quiet", "--no-tags", str(repo.bare), branch)
            log()

        return timed(both)

    return read


def _news(runs: int, cycle: Cycle, repo: ConfigRepo, folder: Path) -> Iterator[Row]:
    """The log of what came since somebody looked last: one more commit."""
    snapshot = cycle.index.snapshot
    assert snapshot is not None
    name, (site,) = sorted(snapshot.claims.sites.items())[0]

    def ours(run: int) -> Cost:
        run += COMMITS // 10
        _by_hand(repo, site, f"0.8.{run}", run)
        wanted = Wanted(since=_moment(run))
        found: list[Change] = []
        cost = timed(lambda: found.extend(cycle.logbook().changes(wanted)))
        assert [(c.workload, c.member.after) for c in found] == [(name, f"0.8.{run}")], found
        return cost

    pair = alternate(max(NEXT, runs), ours, _plain_reader(folder / "plain", repo, site.file))
    fetching = "git fetch, git log OLD..NEW -- FILE"
    yield beside("the log since one more commit: fetched, proven", fetching, pair, None, f"{_ms(pair)} ms")


def _ms(pair: Pair) -> str:
    return f"{1000 * sorted(cost.wall for cost in pair.ours)[len(pair.ours) // 2]:.1f}"


def _moment(run: int) -> datetime:
    """The time of a commit by hand."""
    return BEGAN + (COMMITS + run) * PACE


def _by_hand(repo: ConfigRepo, site: Site, version: str, run: int) -> None:
    setting = set_image(git_text(repo, site.file), image=str(site.repository), to=version, path=site.file)
    feed = _commit(COMMITS + run, "Ann", f"By hand {run}\n", site.file, setting.text, follows=True)
    git(repo.bare, "fast-import", "--quiet", feed=feed)


PARTS = {"history": history}

if __name__ == "__main__":
    main(PARTS)
