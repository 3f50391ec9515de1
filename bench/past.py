"""History: reading back a branch of 100,000 commits with 10,000 releases, beside git reading it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from automator import set_image
from automator.app.build import App
from automator.config import load
from automator.core.delivery.change import Wanted
from automator.core.record import Member, ReleaseRecord
from automator.core.release import compose
from automator.cycle.logbook import MENTION
from automator.cycle.run import Cycle, Trigger
from bench.cases import MemoryRegistry
from bench.inputs import ConfigRepo, Shape, git, make_config_repo
from bench.measure import Cost, Pair, alternate, median, peak_memory, timed
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
    with reader(folder, repo) as cycle:
        fetched = timed(cycle.logbook)
        clone = folder / "state" / "repos" / "bench"
        note = f"{COMMITS:,} commits, {RELEASES:,} releases; fetching all of them took {fetched.wall:.1f} s"
        yield from _logs(min(runs, 5), cycle, clone, note)
        yield from _marks(runs, cycle, clone, repo)


def _logs(runs: int, cycle: Cycle, clone: Path, note: str) -> Iterator[Row]:
    """Every release, as git prints its message."""
    tip = cycle.checkout.ask_tip()
    messages = _printed(
        clone, "--first-parent", f"--grep={MENTION}", "--fixed-strings", "--format=%H%n%B", tip
    )
    whole = _printed(clone, "--first-parent", "--raw", "--no-abbrev", "--format=%H%n%B", tip)

    def claims(_: int) -> Cost:
        book = cycle.logbook()
        return timed(lambda: _all(sum(1 for _ in book.claims(Wanted()))))

    def proven(_: int) -> Cost:
        book = cycle.logbook()
        return timed(lambda: _all(sum(bool(change.proven) for change in book.changes(Wanted()))))

    grep = "git log --grep, the same messages"
    pair = alternate(runs, claims, lambda _: timed(messages))
    yield beside("what messages claim (`log --claims`), cold", grep, pair, 2.0, note)
    pair = alternate(runs, proven, lambda _: timed(whole))
    messages_only = timed(messages).wall
    note = f"{median(pair.ours).wall / messages_only:.1f} times printing the messages; {peak_memory():.0f} MB"
    yield beside("the log, each release proven, cold", "git log --raw of every commit", pair, 2.0, note)


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

    def cold(_: int) -> Cost:
        cycle.facts.forget()
        cost = timed(lambda: cycle.facts.read_histories(sites))
        (found,) = cycle.facts.whole_histories(sites).values()
        assert len(getattr(found, "held", ())) == RELEASES // SHAPE.workloads + 1, found
        return cost

    limit = _printed(clone, "--first-parent", "--format=%H%n%B", snapshot.commit, "--", site.file)
    pair = alternate(min(runs, 5), cold, lambda _: timed(limit))
    yield beside(f"history of one workload ({name}), cold", "git log -- FILE", pair, 2.0)

    last = [snapshot.commit]
    text = git_text(repo, site.file)

    def following(run: int) -> Cost:
        _by_hand(repo, site.file, f"{text.rstrip()}\n# by hand {run}\n", run)
        tip = cycle.checkout.ask_tip()
        last.append(tip)
        cycle.checkout.fetch(tip)
        cycle.index.move_to(tip)
        return timed(cycle.facts.catch_up)

    def asking(_: int) -> Cost:
        since = f"{last[-2]}..{last[-1]}"
        return timed(_printed(clone, "--first-parent", "--format=%H%n%B", since, "--", site.file))

    pair = alternate(max(NEXT, runs), following, asking)
    name = "the same, one more commit"
    yield beside(name, "git log OLD..NEW -- FILE", pair, None, f"{_ms(pair)} ms")
    snapshot = cycle.index.snapshot
    (site,) = snapshot.claims.sites[sorted(snapshot.claims.sites)[0]]
    quiet = Pair(*(tuple(timed(lambda: cycle.facts.read_histories([site])) for _ in range(9)),) * 2)
    yield beside("the same, nothing new", "itself", quiet, None, f"{_ms(quiet)} ms")


def _ms(pair: Pair) -> str:
    return f"{1000 * sorted(cost.wall for cost in pair.ours)[len(pair.ours) // 2]:.1f}"


def _by_hand(repo: ConfigRepo, name: str, text: str, run: int) -> None:
    feed = _commit(COMMITS + run, "Ann", f"By hand {run}\n", name, text, follows=True)
    git(repo.bare, "fast-import", "--quiet", feed=feed)


PARTS = {"history": history}

if __name__ == "__main__":
    main(PARTS)
