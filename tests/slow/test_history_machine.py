"""What people do to a branch, in any order: a machine plays it on real Git, and a plain model judges.

The model knows the branch as a list of tips and reads each file by one regular expression. It says which
versions may be released at a tip; everything that automator does must be one of them, and nothing that is
left undone by a quiet cycle may be.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path

import hypothesis
import hypothesis.stateful
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from parts.gitserver import BareRepo, git
from parts.hand import Hand
from parts.stage import COMMAND, Stage
from ruamel.yaml import YAML

from automator.app import App
from automator.config import Config
from automator.core.action import Request
from automator.core.record import Member, ReleaseRecord
from automator.core.release import compose
from automator.core.report import Report
from automator.cycle.acting import Terms, act
from automator.errors import ActionError, ManifestError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NAMES = ("web", "api")
VERSIONS = tuple(f"1.{minor}.{patch}" for minor in range(4) for patch in range(2))
RANGES = {">=1.0 <2": (0, 99), ">=1.0 <1.2": (0, 1)}
"""Range -> the minor versions that are in it, first and last."""
EXAMPLES, STEPS = 15, 30
IMAGE = r"image:\s*\S+/acme/{name}:(\S+)"

names = st.sampled_from(NAMES)
versions = st.sampled_from(VERSIONS)

Rank = tuple[int, ...]


def rank(tag: str) -> Rank | None:
    """Where a tag stands; None for what is no version."""
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", tag)
    return None if found is None else tuple(map(int, found.groups()))


# -- the model --------------------------------------------------------------------------------------


@dataclass
class Model:
    """The branch as a list of tips, oldest first, and what may happen at its end."""

    repo: BareRepo
    tags: dict[str, set[str]]
    line: list[str] = field(default_factory=list)
    _read: dict[str, dict[str, str]] = field(default_factory=dict)

    def texts(self, commit: str) -> dict[str, str]:
        """Every file of a commit."""
        if commit not in self._read:
            listed = git(self.repo.path, "ls-tree", "-r", "--name-only", commit).splitlines()
            self._read[commit] = {name: f"{self.repo.read(name, commit)}\n" for name in listed}
        return self._read[commit]

    def tag(self, name: str, commit: str) -> str:
        found = re.findall(IMAGE.format(name=name), "\n".join(self.texts(commit).values()))
        assert len(found) == 1, f"{name} is {len(found)} times in {commit}"
        return str(found[0])

    def message(self, commit: str) -> str:
        return git(self.repo.path, "show", "--no-patch", "--format=%B", commit)

    def is_ours(self, name: str, commit: str) -> bool:
        return f"Release-Workload: {name}" in self.message(commit)

    def asked_for(self, commit: str) -> bool:
        return "Release-Actor:" in self.message(commit)

    def stays(self, name: str, line: list[str]) -> list[tuple[str, str]]:
        """Version and the commit that brought it, oldest first, each as long as it stood."""
        found: list[tuple[str, str]] = []
        for commit in line:
            tag = self.tag(name, commit)
            if not found or found[-1][0] != tag:
                found.append((tag, commit))
        return found

    def allowed(self, name: str, line: list[str]) -> list[str]:
        """Versions that may be released on a branch, best first: the policy's, above what stands, and none
        that people turned away."""
        policy = self._policy(name, line[-1])
        if "hold" in policy or any("_freeze" in file for file in self.texts(line[-1])):
            return []
        first, last = RANGES[policy["semver"]]
        stays = self.stays(name, line)
        ranked = [found for tag, _ in stays if (found := rank(tag)) is not None]
        mark, now = max(ranked), rank(stays[-1][0])
        # A tag that says nothing of a version leaves the last one that did in force.
        floor = ranked[-1] if now is None else now
        if now is None and any(self.is_ours(name, commit) for _, commit in stays):
            return []
        accepted = set(policy.get("accept", ()))
        taken = set()
        for tag in self.tags[name] - set(policy.get("reject", ())):
            one = rank(tag)
            assert one is not None
            if not first <= one[1] <= last or one < floor or one == now:
                continue
            if floor < one <= mark and tag not in accepted:
                continue
            taken.add(tag)
        fought = self._fought_over(name, stays)
        if fought:
            taken &= accepted - fought
        return sorted(taken, key=lambda tag: rank(tag) or (), reverse=True)

    def _fought_over(self, name: str, stays: list[tuple[str, str]]) -> set[str]:
        """The two versions of a field that was set back and forth twice, once by us alone each time."""
        last = stays[-5:]
        pair = {tag for tag, _ in last}
        if len(last) < 5 or len(pair) != 2:
            return set()
        movers = [self.is_ours(name, commit) and not self.asked_for(commit) for _, commit in last[1:]]
        return pair if all(movers[::2]) or all(movers[1::2]) else set()

    def _policy(self, name: str, commit: str) -> dict[str, object]:
        told = _yaml(self.texts(commit)[f"policies/{name}.yaml"])
        return dict(told["workloads"][name])


@cache
def _yaml(text: str) -> dict[str, dict[str, dict[str, object]]]:
    found: dict[str, dict[str, dict[str, object]]] = YAML(typ="safe").load(text)
    return found


# -- the automators -----------------------------------------------------------------------------------


@dataclass
class Automator:
    """One automator with a state of its own, on the stage's config repo."""

    stage: Stage
    folder: Path
    app: App | None = None
    withheld: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in NAMES})
    """Versions whose releases somebody rewound the branch past: it may have seen them."""

    def may_withhold(self, name: str, tag: str | None) -> bool:
        """Whether it may take a version for turned away where history says nothing of it: one that a rewind
        took back, or a lower one."""
        return tag is not None and any((rank(tag) or ()) <= (rank(w) or ()) for w in self.withheld[name])

    def opened(self) -> App:
        if self.app is None:
            config = Config(
                state=self.folder,
                repos={"shop": {"url": str(self.stage.repo.path)}},
                registries={self.stage.host: {"insecure": True, "deadline": "20s"}},
            )
            self.app = App.open(config, exclusive=True, clock=lambda: self.stage.now)
        return self.app

    def run(self, *, push: bool = True) -> Report:
        report = self.opened().cycles["shop"].run(COMMAND, push=push)
        assert report.error is None, report.error.sentence
        return report

    def stop(self) -> None:
        if self.app is not None:
            self.app.close()
            self.app = None

    def lose_state(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.withheld = {name: set() for name in NAMES}


# -- the machine --------------------------------------------------------------------------------------


class Branch(RuleBasedStateMachine):
    """One config repo, two automators, and people who do with it what they like."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="automator-machine-")))
        self.stage = Stage(self.folder, self.stack)
        self.model = Model(self.stage.repo, {name: set() for name in NAMES})
        self.automators = [Automator(self.stage, self.folder / f"state-{n}") for n in (1, 2)]
        for automator in self.automators:
            self.stack.callback(automator.stop)
        self.builds = self.steps = 0
        self.racer = self.stage.repo.path / "racer"
        self.stage.repo.hook(
            "pre-receive",
            "[ -f racer ] || exit 0\nnew=$(cat racer); rm racer\n"
            "unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES\n"
            "git update-ref refs/heads/main $new",
        )

    def teardown(self) -> None:
        try:
            if self.model.line:
                self.quiet_cycle(0)
                self.decides_the_same_without_its_state(0)
                self.every_release_can_be_reverted()
                assert self.stage.repo.fsck() == ""
        finally:
            self.stack.close()

    @initialize()
    def adopt(self) -> None:
        files: dict[str, str] = {}
        for name in NAMES:
            for version in VERSIONS[:3]:
                self._built(name, version)
            files |= self.stage.workload(name, "1.0.0")
        self.stage.commit(files, "Adopt")
        self.model.line = git(self.stage.repo.path, "rev-list", "--reverse", "main").splitlines()[1:]
        self.hand = Hand(self.stage.repo, self.folder / "work-of-ann")

    # -- what CI does --------------------------------------------------------------------------------

    def _built(self, name: str, version: str) -> None:
        self.builds += 1
        self.stage.push(f"acme/{name}", version, age=timedelta(days=30) - timedelta(minutes=self.builds))
        self.model.tags[name].add(version)

    @rule(name=names, version=versions)
    def new_tag(self, name: str, version: str) -> None:
        self._built(name, version)

    @rule(name=names)
    def tag_pushed_again(self, name: str) -> None:
        self._built(name, sorted(self.model.tags[name])[-1])

    # -- what automators do ----------------------------------------------------------------------------

    @invariant()
    def looked_at_now_and_then(self) -> None:
        self.steps += 1
        if self.model.line and self.steps % 3 == 0:
            self.quiet_cycle(0)

    @rule(which=st.sampled_from([0, 1]))
    def quiet_cycle(self, which: int) -> None:
        self._cycle(which)
        for name in NAMES:
            allowed = self.model.allowed(name, self.model.line)
            left = [tag for tag in allowed if not self.automators[which].may_withhold(name, tag)]
            assert not left, f"{name}: {left} could be released and was not: {self._outcomes(which)}"

    @rule(which=st.sampled_from([0, 1]), name=names, version=versions, moves=st.booleans())
    def cycle_beside_a_writer(self, which: int, name: str, version: str, moves: bool) -> None:
        side = BareRepo(self.stage.repo.path, "racer", self.stage.repo.clock)
        tip = self.model.line[-1]
        files = self._moved(name, version) if moves else {"notes.txt": f"{self.stage.repo.clock}\n"}
        self.racer.write_text(side.commit(files, "Pushed meanwhile", author="Cy Concurrent", base=tip))
        self._cycle(which)
        self.racer.unlink(missing_ok=True)

    @rule()
    def both_at_once(self) -> None:
        threads = [threading.Thread(target=self._surely(automator.run)) for automator in self.automators]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._judge()

    def _surely(self, act: Callable[[], object]) -> Callable[[], None]:
        def acting() -> None:
            with contextlib.suppress(Exception):
                act()
                return
            self.broken = True

        self.broken = False
        return acting

    @rule(which=st.sampled_from([0, 1]))
    def restart(self, which: int) -> None:
        self.automators[which].stop()

    @rule(which=st.sampled_from([0, 1]))
    def lose_state(self, which: int) -> None:
        self.automators[which].lose_state()

    @rule(which=st.sampled_from([0, 1]))
    def decides_the_same_without_its_state(self, which: int) -> None:
        fresh = Automator(self.stage, self.folder / "state-new")
        try:
            with_state, without = (self._planned(one) for one in (self.automators[which], fresh))
        finally:
            fresh.lose_state()
        for name in NAMES:
            one, other = with_state.get(name), without.get(name)
            withheld = self.automators[which].may_withhold(name, other)
            assert one == other or withheld, f"{name}: {one} with its state, {other} without"
            assert one is None or other is not None, f"{name}: only its state makes it release {one}"

    @staticmethod
    def _planned(automator: Automator) -> dict[str, str]:
        report = automator.run(push=False)
        found = ((p.workload, re.search(IMAGE.format(name=p.workload), p.after)) for p in report.patches)
        return {workload: match[1] for workload, match in found if match is not None}

    def _cycle(self, which: int) -> None:
        self.automators[which].run()
        self.stage.now += timedelta(minutes=1)
        self._judge()

    def _judge(self) -> None:
        """Every commit that came is one that the model allows."""
        self.stage.now += timedelta(minutes=1)
        assert not getattr(self, "broken", False), "a cycle raised"
        tip, line = self.stage.repo.tip(), self.model.line
        assert tip is not None
        came = git(self.stage.repo.path, "rev-list", "--first-parent", "--reverse", f"{line[-1]}..{tip}")
        for commit in came.splitlines():
            for name in NAMES:
                before, after = self.model.tag(name, line[-1]), self.model.tag(name, commit)
                message = self.model.message(commit)
                if message.startswith("Release "):
                    self._judge_release(name, line, commit, before, after)
            line.append(commit)

    def _judge_release(self, name: str, line: list[str], commit: str, before: str, after: str) -> None:
        if not self.model.is_ours(name, commit):
            assert before == after, f"{commit} also moved {name}"
            return
        message, allowed = self.model.message(commit), self.model.allowed(name, line)
        assert f"Release-From: {before}" in message, message
        assert f"Release-To: {after}@" in message, message
        assert before != after, f"{commit} is empty"
        assert after in allowed, f"{name}: {before} -> {after}, but only {allowed} are allowed"
        for better in allowed[: allowed.index(after)]:
            withheld = any(automator.may_withhold(name, better) for automator in self.automators)
            assert withheld, f"{name}: {after} although {better} is better"
        parent = git(self.stage.repo.path, "rev-parse", f"{commit}^")
        assert parent == line[-1]
        numstat = self.stage.numstat(commit)
        assert [line.split("\t")[:2] for line in numstat] == [["1", "1"]], numstat

    def _outcomes(self, which: int) -> str:
        outcomes = self.automators[which].opened().cycles["shop"].decider.outcomes
        return "; ".join(f"{name} {one.status} {one.reason.sentence}" for name, one in outcomes.items())

    # -- what people do --------------------------------------------------------------------------------

    def _moved(self, name: str, version: str) -> dict[str, str]:
        """The file of a workload, at another version."""
        tip = self.model.line[-1]
        for file, text in self.model.texts(tip).items():
            if re.search(IMAGE.format(name=name), text):
                old = self.model.tag(name, tip)
                return {file: text.replace(f"/acme/{name}:{old}", f"/acme/{name}:{version}")}
        raise AssertionError(f"no file has {name}")

    def _committed(self, files: dict[str, str | None], message: str) -> None:
        self.model.line.append(self.stage.repo.commit(files, message))

    @rule(name=names, version=versions)
    def set_by_hand(self, name: str, version: str) -> None:
        self._committed(dict(self._moved(name, version)), f"Set {name}")

    @rule(name=names)
    def set_to_a_word(self, name: str) -> None:
        self._committed(dict(self._moved(name, "latest")), f"{name} as it comes")

    @rule(name=names)
    def comment(self, name: str) -> None:
        ((file, text),) = self._moved(name, self.model.tag(name, self.model.line[-1])).items()
        self._committed({file: f"# Looked at {self.stage.repo.clock}.\n{text}"}, "A comment")

    @rule()
    def unrelated(self) -> None:
        self._committed({"notes.txt": f"{self.stage.repo.clock}\n"}, "Notes")

    @rule(name=names, folder=st.sampled_from(["apps", "deploy/shop", "clusters/one"]))
    def rename(self, name: str, folder: str) -> None:
        ((file, text),) = self._moved(name, self.model.tag(name, self.model.line[-1])).items()
        target = f"{folder}/{name}.yaml"
        if target != file:
            self._committed({file: None, target: text}, "Tidy up")

    @rule(name=names, text=st.sampled_from(sorted(RANGES)))
    def another_range(self, name: str, text: str) -> None:
        file = f"policies/{name}.yaml"
        old = self.model.texts(self.model.line[-1])[file]
        self._committed({file: re.sub(r'semver: ".*"', f'semver: "{text}"', old)}, "Another range")

    @precondition(lambda self: self._releases())
    @rule(number=st.integers(0, 5))
    def reverted(self, number: int) -> None:
        releases = self._releases()[-6:]
        self._person(("revert", "--no-edit", releases[number % len(releases)]))

    def _releases(self) -> list[str]:
        return [c for c in self.model.line if any(self.model.is_ours(name, c) for name in NAMES)]

    def _person(self, *commands: tuple[str, ...]) -> None:
        """Somebody with a clone; what does not apply is left alone."""
        self.hand.pull()
        try:
            for command in commands:
                self.hand.git(*command)
        except AssertionError:
            self.hand.git("reset", "--quiet", "--hard", "origin/main")
            return
        self.model.line.append(self.hand.push())

    @rule(name=names, version=versions, number=st.integers(1, 99))
    def squashed_pull_request(self, name: str, version: str, number: int) -> None:
        """A release that went through a pull request, as GitHub squashes it."""
        before = self.model.tag(name, self.model.line[-1])
        if (rank(before) or (9,)) >= (rank(version) or ()):
            return  # going down it would be a `downgrade` of ours, which turns nothing away
        image = f"{self.stage.host}/acme/{name}"
        ((file, text),) = self._moved(name, version).items()
        member = Member(name, image, before, version, (f"{file}#spec.template.spec.containers[app].image",))
        message = compose(ReleaseRecord("release", (member,)), why="newest of all")
        subject, _, body = message.partition("\n")
        body = "\n".join(
            f"    {line}" if line.startswith("Release-Site") else line for line in body.splitlines()
        )
        self._committed({file: text}, f"{subject} (#{number})\n\n* {subject}\n{body}\n")

    @rule(name=names, version=versions, moves=st.booleans(), age=st.integers(1, 4))
    def merged_branch(self, name: str, version: str, moves: bool, age: int) -> None:
        """A branch that began some commits ago, merged by a merge commit."""
        base = self.model.line[-min(age, len(self.model.line))]
        texts = self.model.texts(base)
        file = next(f for f, text in texts.items() if re.search(IMAGE.format(name=name), text))
        old = self.model.tag(name, base)
        changed = texts[file].replace(f":{old} ", f":{version} ") if moves else texts[file]
        side = BareRepo(self.stage.repo.path, "side", self.stage.repo.clock)
        tip = side.commit({file: changed, "side.txt": f"{self.stage.repo.clock}\n"}, "On a branch", base=base)
        self.hand.git("fetch", "--quiet", "origin")
        self._person(("merge", "--quiet", "--no-ff", "--no-edit", "-m", "Merge pull request #7", tip))

    @rule(age=st.integers(1, 3))
    def pulled(self, age: int) -> None:
        """Somebody commits on an old tip, pulls, and pushes the merge: its first parent is theirs."""
        base = self.model.line[-min(age, len(self.model.line))]
        self.hand.pull()
        self.hand.git("reset", "--quiet", "--hard", base)
        self.hand.write("mine.txt", f"{self.stage.repo.clock}\n")
        mine = self.hand.commit("My own work")
        try:
            self.hand.git(
                "merge", "--quiet", "-m", "Merge branch 'main' of ssh://git.example.com/shop", "origin/main"
            )
        except AssertionError:
            self.hand.git("merge", "--abort")
            return
        merge = self.hand.push()
        self.model.line.extend([mine, merge] if mine != merge else [merge])

    @precondition(lambda self: len(self.model.line) > 3)
    @rule(count=st.integers(1, 3))
    def rewound(self, count: int) -> None:
        """Somebody sets the branch back to an older tip."""
        line = self.model.line
        lost, self.model.line = line[-count:], line[:-count]
        for name in NAMES:
            for commit in lost:
                tag = self.model.tag(name, commit)
                for automator in self.automators:
                    automator.withheld[name].add(tag)
        self.stage.repo.set_tip(self.model.line[-1])

    @rule(name=names, which=st.sampled_from([0, 1]))
    def accepted_again(self, name: str, which: int) -> None:
        """The highest version that was there, and was turned away."""
        held = [tag for tag, _ in self.model.stays(name, self.model.line) if rank(tag) is not None]
        self.commanded(name, "accept", max(held, key=lambda tag: rank(tag) or ()), which)

    @rule(
        name=names,
        kind=st.sampled_from(["rollback", "rollback", "accept", "reject"]),
        version=versions,
        which=st.sampled_from([0, 1]),
    )
    def commanded(self, name: str, kind: str, version: str, which: int) -> None:
        """What people ask automator for, by its commands."""
        named = version if kind in ("accept", "reject") else None
        workload = "" if kind in ("freeze", "thaw") else name
        why = "because" if kind in ("hold", "freeze", "reject") else None
        request = Request(kind, "Ann Author", why, workload, named)
        before = self.model.line[-1]
        try:
            acted = act(self.automators[which].opened().cycles["shop"], request, Terms())
        except (ActionError, ManifestError):
            return
        self.stage.now += timedelta(minutes=1)
        if acted.commit is None:
            return
        assert git(self.stage.repo.path, "rev-parse", f"{acted.commit}^") == before
        if kind == "rollback":
            then = {tag for tag, _ in self.model.stays(name, self.model.line)}
            now, back = self.model.tag(name, before), self.model.tag(name, acted.commit)
            assert back in then - {now}, f"rolled back from {now} to {back}"
            assert rank(now) is None or (rank(back) or ()) < (rank(now) or ()), f"from {now} up to {back}"
        else:
            assert all(self.model.tag(n, acted.commit) == self.model.tag(n, before) for n in NAMES)
        self.model.line.append(acted.commit)

    @rule(name=names, kind=st.sampled_from(["hold", "freeze"]), which=st.sampled_from([0, 1]))
    def stopped_for_a_cycle(self, name: str, kind: str, which: int) -> None:
        self.commanded(name, kind, "", which)
        self.quiet_cycle(1 - which)
        self.commanded(name, {"hold": "resume", "freeze": "thaw"}[kind], "", which)

    @precondition(lambda self: self._releases())
    @rule()
    def every_release_can_be_reverted(self) -> None:
        """By plain `git revert`, if nothing touched its lines since; the newest of each is tried."""
        self.hand.pull()
        tip = self.model.line[-1]
        for name in NAMES:
            ours = [c for c in self._releases() if self.model.message(c).startswith(f"Release {name} ")]
            if not ours or not self._untouched(ours[-1], tip):
                continue
            before = git(self.stage.repo.path, "rev-parse", f"{ours[-1]}^")
            if self.model.tag(name, before) == self.model.tag(name, ours[-1]):
                continue  # a squash of nothing
            self.hand.git("revert", "--no-edit", ours[-1])
            reverted = re.search(IMAGE.format(name=name), self.hand.read(self._file(name, tip)))
            assert reverted is not None
            assert reverted[1] == self.model.tag(name, before)
            self.hand.git("reset", "--quiet", "--hard", "origin/main")

    def _file(self, name: str, commit: str) -> str:
        texts = self.model.texts(commit)
        return next(f for f, text in texts.items() if re.search(IMAGE.format(name=name), text))

    def _untouched(self, commit: str, tip: str) -> bool:
        """Whether the files that a commit changed are what they were right after it."""
        changed = git(self.stage.repo.path, "diff", "--name-only", f"{commit}^", commit).splitlines()
        now, then = self.model.texts(tip), self.model.texts(commit)
        return all(file in now and now[file] == then.get(file) for file in changed)


@pytest.mark.parametrize("part", range(2))
def test_whatever_people_do_nothing_turned_away_comes_back_and_nothing_is_lost(part: int) -> None:
    settings = hypothesis.settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        phases=[hypothesis.Phase.generate],  # making a failure smaller would take an hour
    )
    machine = hypothesis.seed(part)(Branch)
    hypothesis.stateful.run_state_machine_as_test(machine, settings=settings)
