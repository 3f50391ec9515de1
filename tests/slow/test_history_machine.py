"""What people do to a branch, in any order: a machine plays it on real Git, and a plain oracle judges.

`parts.oracle` says which versions may be released at a tip; everything that automators do must be one of
them, and nothing that is left undone by a quiet cycle may be. `parts.witness` says what an automator saw
being taken back by a force-push. Each example has a few kinds of workloads out of several.

The examples are others in each run, but on CI, where the answer is to be about the change alone. One that
failed is played again by the seed that is told with it: `pytest -m slow -k whatever_people_do
--hypothesis-seed=SEED`.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.stateful
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from parts.forge_description import FOLDER
from parts.forge_projects import Pull, Refused
from parts.forgestage import ForgeStage
from parts.gitserver import BareRepo, git
from parts.hand import Hand
from parts.oracle import FOLLOWED, RANGES, Built, Load, Model, Objects, numbers, site_shape
from parts.stage import DEPLOYMENT, NOW, Stage
from parts.witness import Witness

from automator.core.action import Request
from automator.core.record import Member, ReleaseRecord
from automator.core.release import compose
from automator.cycle.acting import Terms, act
from automator.demo.images import push_image
from automator.errors import ActionError, ManifestError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

AGE = timedelta(minutes=30)
WEB = Load("web", ("web-a", "web-b"))
API = Load("api", ("api",))
OLD = Load("old", ("old",), age=AGE)
DAY = Load("day", ("day",), order="newest")
BASE = Load("base", ("base",), order="follow")
PAIR = (Load("left", ("left",), group="pair"), Load("right", ("right",), group="pair"))
DOOR = Load("door", ("door",), proposed=True)
UNITS = ((WEB,), (API,), (OLD,), (DAY,), (BASE,), PAIR, *(((DOOR,),) if FOLDER.is_dir() else ()))
KEYS = {
    "old": "min_age: 30m",
    "left": "group: {name: pair}",
    "right": "group: {name: pair, match: version}",
    "door": "deliver: pull-request",
}
VERSIONS = tuple(f"1.{minor}.{patch}" for minor in range(4) for patch in range(2))
HEAD = "automator/door"
EXAMPLES, STEPS, PARTS = 22, 40, 2

picks = st.integers(0, 11)
"""One of the workloads that an example has."""
numbers_of_versions = st.integers(0, len(VERSIONS) - 1)
either = st.sampled_from([0, 1])


class Branch(RuleBasedStateMachine):
    """One config repo, two automators, and people who do with it what they like."""

    stage: Stage

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="automator-machine-")))
        self.builds = self.steps = 0
        self.broken = False
        self.witnesses: list[Witness] = []
        self.proposed: str | None = None
        """The tip of the pull request's branch that was judged last."""
        self.merged: set[str] = set()
        """Versions that came to the branch by pull requests."""

    def teardown(self) -> None:
        try:
            if self.witnesses:
                self.patience(0)
                self.decides_the_same_without_its_state(0)
                self.every_release_can_be_reverted()
                assert self.stage.repo.fsck() == ""
        finally:
            self.stack.close()

    @initialize(
        units=st.lists(st.sampled_from(UNITS), min_size=2, max_size=3, unique=True),
        forge=st.sampled_from(["gitea", "github", "gitlab"]),
    )
    def adopt(self, units: list[tuple[Load, ...]], forge: str) -> None:
        loads = tuple(load for unit in units for load in unit)
        self.stage = (
            ForgeStage(self.folder, self.stack, forge) if DOOR in loads else Stage(self.folder, self.stack)
        )
        self.stage.repo.clock = int(NOW.timestamp())
        objects = Objects(self.stage.repo.path)
        self.stack.callback(objects.close)
        self.model = Model(self.stage.repo.path, objects, loads)
        self.witnesses = [Witness(self.stage, self.model, self.folder / f"state-{n}") for n in (1, 2)]
        for witness in self.witnesses:
            self.stack.callback(witness.stop)
        self.racer = self.stage.repo.path / "racer"
        self.stage.repo.hook(
            "pre-receive",
            "[ -f racer ] || exit 0\nnew=$(cat racer); rm racer\n"
            "unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES\n"
            "git update-ref refs/heads/main $new",
        )
        files: dict[str, str] = {}
        for load in loads:
            self.model.tags[load.name] = {}
            for number in range(3):
                self._built(load, number)
            files |= self._first_files(load)
        self.model.line = [self.stage.commit(files, "Adopt")]
        self.hand = Hand(self.stage.repo, self.folder / "work-of-ann")

    def _first_files(self, load: Load) -> dict[str, str]:
        image = f"{self.stage.host}/acme/{load.name}"
        first = FOLLOWED if load.order == "follow" else self._version(load, 0)
        rule_of = {"newest": 'glob: "build-*"\n    order: newest', "follow": f"follow: {FOLLOWED}"}
        keys = [rule_of.get(load.order, 'semver: ">=1.0 <2"'), KEYS.get(load.name, "")]
        told = "".join(f"    {key}\n" for key in (f"image: {image}", *filter(None, keys)))
        files = {
            f"apps/{site}.yaml": DEPLOYMENT.format(name=site, image=f"{image}:{first}") for site in load.sites
        }
        return {**files, f"policies/{load.name}.yaml": f"version: 1\nworkloads:\n  {load.name}:\n{told}"}

    def _load(self, pick: int) -> Load:
        return self.model.loads[pick % len(self.model.loads)]

    def _loads(self, **about: Any) -> list[Load]:
        return [one for one in self.model.loads if all(getattr(one, k) == v for k, v in about.items())]

    # -- what CI does --------------------------------------------------------------------------------------

    def _version(self, load: Load, number: int) -> str:
        """The version of a number: a tag, or, of a followed one, a digest that it had."""
        if load.order == "newest":
            return f"build-{number}"
        return self.pushed[number % len(self.pushed)] if load.order == "follow" else VERSIONS[number]

    def _built(self, load: Load, number: int) -> None:
        self.builds += 1
        created = NOW - timedelta(days=30) + timedelta(minutes=self.builds)
        tag = FOLLOWED if load.order == "follow" else self._version(load, number)
        if load.order == "newest":
            if tag in self.model.tags[load.name]:
                return  # it is a build, once and for all
            created = NOW - timedelta(days=20) + timedelta(hours=(number * 5 + 1) % len(VERSIONS))
        labels = {"build": f"{load.name} {self.builds}"}
        digest = push_image(
            f"http://{self.stage.host}", f"acme/{load.name}", tag, created=created, labels=labels
        )
        self.model.tags[load.name][tag] = Built(created, self.stage.now, digest)
        if load.order == "follow":
            self.pushed = [*getattr(self, "pushed", ()), digest]

    @rule(pick=picks, number=numbers_of_versions)
    def new_tag(self, pick: int, number: int) -> None:
        self._built(self._load(pick), number)

    @rule(number=numbers_of_versions)
    def new_tag_of_a_group(self, number: int) -> None:
        for load in self.model.unit(self._load(number)):
            self._built(load, number)

    @rule(pick=picks)
    def tag_pushed_again(self, pick: int) -> None:
        load = self._load(pick)
        if load.order == "semver":
            self._built(load, VERSIONS.index(max(self.model.tags[load.name])))

    # -- what automators do --------------------------------------------------------------------------------

    @invariant()
    def looked_at_now_and_then(self) -> None:
        self.steps += 1
        if self.witnesses and self.steps % 3 == 0:
            self.quiet_cycle(0)

    @rule(which=either)
    def quiet_cycle(self, which: int) -> None:
        self._cycle(which)
        for load in self.model.loads:
            if load.age is None and not load.proposed:
                self._nothing_left(which, load)

    @rule(which=either)
    def patience(self, which: int) -> None:
        """All is quiet for so long that every clock has run, and the forge was asked again."""
        for _ in range(2):
            self._cycle(which)
            self.stage.now += timedelta(hours=2)
        self._cycle(which)
        for load in self.model.loads:
            if not load.proposed:
                self._nothing_left(which, load)
            else:
                self._is_proposed(which, load)

    def _nothing_left(self, which: int, load: Load) -> None:
        line, witness = self.model.line, self.witnesses[which]
        left = [v for v in self.model.allowed(load, line) if not witness.may_withhold(load, v, line)]
        assert not left, f"{load.name}: {left} could be released and was not: {self._outcomes(which)}"

    def _is_proposed(self, which: int, load: Load) -> None:
        """What may be released is in an open pull request, unless its branch is somebody else's by now."""
        line = self.model.line
        allowed = self.model.allowed(load, line)
        if not allowed or self.witnesses[which].may_withhold(load, allowed[0], line):
            return
        if allowed[0] in self.merged - self.model.accepted(load, line):
            return  # the forge says that it was merged
        pulls = [pull for pull in self._pulls() if pull.head == HEAD]
        own = git(self.model.repo, "rev-list", HEAD, "^main").splitlines() if pulls else []
        if any(self._is_asked(commit) for commit in own):
            return
        if all(self.model.is_ours(load, commit) for commit in own):
            found = [self.model.version(load, load.sites[0], pull.head_commit) for pull in pulls]
            assert found == [allowed[0]], f"{allowed} are not proposed, but {found}: {self._outcomes(which)}"

    def _is_asked(self, commit: str) -> bool:
        """Whether a person asked for it: then nothing else is proposed until it is merged or closed."""
        return "Release-Actor: " in self.model.objects.message(commit)

    def _pulls(self) -> list[Pull]:
        """The pull requests that are open."""
        if not isinstance(self.stage, ForgeStage):
            return []
        return [pull for pull in self.stage.forge.pulls.values() if pull.state == "open"]

    @rule(which=either, pick=picks, number=numbers_of_versions, moves=st.booleans())
    def cycle_beside_a_writer(self, which: int, pick: int, number: int, moves: bool) -> None:
        side = BareRepo(self.stage.repo.path, "racer", self.stage.repo.clock)
        load, tip = self._load(pick), self.model.tip
        version = self._settable(load, number)
        files = self._moved(load, version) if moves and version else {"notes.txt": f"{side.clock}\n"}
        self.racer.write_text(side.commit(files, "Pushed meanwhile", author="Cy Concurrent", base=tip))
        self._cycle(which)
        self.racer.unlink(missing_ok=True)

    @precondition(lambda self: len(self.model.line) > 3)
    @rule(which=either, count=st.integers(1, 2))
    def cycle_beside_a_rewind(self, which: int, count: int) -> None:
        """Somebody sets the branch back while automator pushes on it."""
        line, witness = list(self.model.line), self.witnesses[which]
        self.racer.write_text(line[-1 - count])
        witness.looks(line)
        witness.run()
        if self.racer.exists():
            self.racer.unlink()
        else:
            self._set_back(count)
            witness.looks(self.model.line)
        self._judge(witness, before=line)

    @rule()
    def both_at_once(self) -> None:
        for witness in self.witnesses:
            witness.looks(self.model.line)
        threads = [threading.Thread(target=self._surely(witness.run)) for witness in self.witnesses]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not self.broken, "a cycle raised"
        self._judge()

    def _surely(self, act: Callable[[], object]) -> Callable[[], None]:
        def acting() -> None:
            with contextlib.suppress(Exception):
                act()
                return
            self.broken = True

        return acting

    @rule(which=either)
    def restart(self, which: int) -> None:
        self.witnesses[which].stop()

    @rule(which=either)
    def lose_state(self, which: int) -> None:
        self.witnesses[which].lose_state()

    @rule(which=either)
    def decides_the_same_without_its_state(self, which: int) -> None:
        witness = self.witnesses[which]
        self.stage.now += timedelta(hours=2)  # what the forge said an hour ago does not count any more
        witness.looks(self.model.line)
        fresh = Witness(self.stage, self.model, self.folder / "state-new")
        try:
            with_state, without = (self._planned(one) for one in (witness, fresh))
        finally:
            fresh.lose_state()
        for load in self.model.loads:
            one, other = with_state.get(load.name), without.get(load.name)
            for planned in filter(None, (one, other)):
                allowed = self.model.allowed(load, self.model.line)
                assert planned in allowed, (
                    f"{load.name}: {planned} is planned, but only {allowed} are allowed"
                )
            assert one is None or not witness.must_withhold(load, one, self.model.line), f"{load.name}: {one}"
            if load.age is not None:  # which starts again
                assert other is None, f"{load.name}: {other}, whose age nobody knows"
                continue
            withheld = other is not None and witness.may_withhold(load, other, self.model.line)
            assert one == other or withheld, f"{load.name}: {one} with its state, {other} without"
            assert one is None or other is not None, f"{load.name}: only its state makes it release {one}"

    def _planned(self, witness: Witness) -> dict[str, str]:
        found: dict[str, str] = {}
        for patch in witness.run(push=False).patches:
            (load,) = self._loads(name=patch.workload)
            for site in load.sites:
                match = site_shape(load.name, site).search(patch.after)
                if match is not None and match["image"] in patch.after:
                    found[load.name] = match["digest"] if load.order == "follow" else match["tag"]
        return found

    def _outcomes(self, which: int) -> str:
        outcomes = self.witnesses[which].opened().cycles["shop"].decider.outcomes
        return "; ".join(f"{name} {one.status} {one.reason.sentence}" for name, one in outcomes.items())

    # -- judging -------------------------------------------------------------------------------------------

    def _cycle(self, which: int) -> None:
        witness = self.witnesses[which]
        witness.looks(self.model.line)
        witness.run()
        self._judge(witness)

    def _judge(self, *witnesses: Witness, before: list[str] | None = None) -> None:
        """Every commit that came is one that the model allows; with one witness, it made them all."""
        tip, line = self.stage.repo.tip(), self.model.line
        assert tip is not None
        came = git(self.model.repo, "rev-list", "--first-parent", "--reverse", f"{line[-1]}..{tip}")
        assert line[-1] in (tip, *git(self.model.repo, "rev-list", tip).splitlines()), "a commit is gone"
        for commit in came.splitlines():
            message = self.model.objects.message(commit)
            if message.startswith("Release "):
                self._judge_release(commit, message, witnesses or tuple(self.witnesses))
            line.append(commit)
        self._judge_proposal(witnesses or tuple(self.witnesses), before or line)
        for witness in witnesses:
            witness.looks(line)
        self.stage.now += timedelta(minutes=1)

    def _judge_release(self, commit: str, message: str, witnesses: tuple[Witness, ...]) -> None:
        model, before = self.model, self.model.tip
        assert git(model.repo, "rev-parse", f"{commit}^") == before
        named = [load for load in model.loads if model.is_ours(load, commit)]
        assert named, message
        lines = 0
        for load in model.loads:
            if load not in named:
                assert model.versions(load, commit) == model.versions(load, before), f"{load.name} moved too"
                continue
            assert not load.proposed, f"{load.name} was pushed"
            lines += self._judge_move(load, commit, message)
            self._judge_choice(load, model.current(load, commit), model.line, witnesses)
        numstat = [row.split("\t")[:2] for row in self.stage.numstat(commit)]
        assert numstat == [["1", "1"]] * lines, numstat
        for load in named:
            unit = model.unit(load)
            reached = {model.current(one, commit) for one in unit}
            assert len(unit) == 1 or len(reached) == 1, f"{load.name} came apart: {reached}"

    def _judge_move(self, load: Load, commit: str, message: str) -> int:
        """What one commit did to the sites of a workload; how many it moved."""
        model, before, moved = self.model, self.model.tip, 0
        target = model.current(load, commit)
        for site in load.sites:
            old, new = (model.version(load, site, one) for one in (before, commit))
            ranks = [model.rank(load, version) for version in (old, new)]
            assert None in ranks or ranks[1] >= ranks[0], f"{site} went down from {old} to {new}"
            assert new == target, f"{site} was left at {new}, below {target}"
            assert old == new or load.order == "follow" or f"Release-From: {old}" in message, message
            moved += old != new
        assert moved, f"{commit} moves nothing"
        tag = FOLLOWED if load.order == "follow" else target
        served = model.tags[load.name][tag]
        assert f"Release-To: {tag}@{served.digest}" in message, message
        if load.age is not None:
            assert self.stage.now - served.pushed >= load.age, f"{load.name} {tag} is too young"
        return moved

    def _judge_choice(
        self, load: Load, version: str, line: list[str], witnesses: tuple[Witness, ...]
    ) -> None:
        allowed = self.model.allowed(load, line)
        assert version in allowed, f"{load.name} -> {version}, but only {allowed} are allowed"
        for better in allowed[: allowed.index(version)] if load.age is None else ():
            withheld = any(witness.may_withhold(load, better, line) for witness in witnesses)
            assert withheld, f"{load.name} -> {version} although {better} is better"
        known = all(witness.must_withhold(load, version, line) for witness in witnesses)
        assert not known, f"{load.name} -> {version}, which the branch was set back from"

    def _judge_proposal(self, witnesses: tuple[Witness, ...], before: list[str]) -> None:
        """What stands on the branch of the pull request, if it is new; `before` is where the branch was."""
        head = git(self.model.repo, "for-each-ref", "--format=%(objectname)", f"refs/heads/{HEAD}") or None
        if head is not None and head != self.proposed and not self._is_asked(head):
            version = self.model.version(DOOR, DOOR.sites[0], head)
            base = git(self.model.repo, "rev-parse", f"{head}^")
            line = next(line for line in (self.model.line, before) if base in line)
            self._judge_choice(DOOR, version, line[: line.index(base) + 1], witnesses)
            assert [row.split("\t")[:2] for row in self.stage.numstat(head)] == [["1", "1"]]
        assert len([pull for pull in self._pulls() if pull.head == HEAD]) <= 1
        self.proposed = head

    # -- what people do ------------------------------------------------------------------------------------

    def _settable(self, load: Load, number: int) -> str | None:
        """What a person may write; None where there is no such build."""
        version = self._version(load, number)
        return version if load.order != "newest" or version in self.model.tags[load.name] else None

    def _moved(self, load: Load, version: str, *, only: int | None = None) -> dict[str, str]:
        """The files of a workload, with all its sites, or one, at another version."""
        files: dict[str, str] = {}
        for site in load.sites if only is None else (load.sites[only % len(load.sites)],):
            file, match = self.model.place(load, site, self.model.tip)
            text = self.model.files(self.model.tip)[file]
            ending = f"{FOLLOWED}@{version}" if load.order == "follow" else version
            files[file] = f"{text[: match.end('image')]}:{ending}{text[match.end() :]}"
        return files

    def _committed(self, files: dict[str, str | None], message: str) -> None:
        old = self.model.files(self.model.tip)
        if any(old.get(path) != text for path, text in files.items()):
            self.model.line.append(self.stage.repo.commit(files, message))

    @rule(pick=picks, number=numbers_of_versions)
    def set_by_hand(self, pick: int, number: int) -> None:
        load = self._load(pick)
        if version := self._settable(load, number):
            self._committed(dict(self._moved(load, version)), f"Set {load.name}")

    @rule(pick=picks, number=numbers_of_versions, builds=st.booleans())
    def one_site_set_by_hand(self, pick: int, number: int, builds: bool) -> None:
        """And CI builds what lies below, or not."""
        load = self._load(pick)
        if version := self._settable(load, number):
            self._committed(dict(self._moved(load, version, only=pick)), f"Set one of {load.name}")
        if builds and number:
            self._built(load, number - 1)

    @precondition(lambda self: API in self.model.loads)
    @rule()
    def set_to_a_word(self) -> None:
        self._committed(dict(self._moved(API, "latest")), "api as it comes")

    @rule(pick=picks)
    def comment(self, pick: int) -> None:
        load = self._load(pick)
        file, _ = self.model.place(load, load.sites[0], self.model.tip)
        text = self.model.files(self.model.tip)[file]
        self._committed({file: f"# Looked at {self.stage.repo.clock}.\n{text}"}, "A comment")

    @rule()
    def unrelated(self) -> None:
        self._committed({"notes.txt": f"{self.stage.repo.clock}\n"}, "Notes")

    @rule(pick=picks, folder=st.sampled_from(["apps", "deploy/shop", "clusters/one"]))
    def rename(self, pick: int, folder: str) -> None:
        load = self._load(pick)
        file, _ = self.model.place(load, load.sites[0], self.model.tip)
        target = f"{folder}/{load.sites[0]}.yaml"
        if target != file:
            self._committed({file: None, target: self.model.files(self.model.tip)[file]}, "Tidy up")

    @rule(pick=picks, text=st.sampled_from(sorted(RANGES)))
    def another_range(self, pick: int, text: str) -> None:
        file = f"policies/{self._load(pick).name}.yaml"
        old = self.model.files(self.model.tip)[file]
        self._committed({file: re.sub(r'semver: ".*"', f'semver: "{text}"', old)}, "Another range")

    def _releases(self) -> list[str]:
        """What automators brought, oldest first."""
        return [c for c in self.model.line if "Release-Workload: " in self.model.claims(c)]

    def _person(self, *commands: tuple[str, ...]) -> None:
        """Somebody with a clone; what does not apply is left alone."""
        self.hand.pull()
        try:
            for command in commands:
                self.hand.git(*command)
        except AssertionError:
            self.hand.git("reset", "--quiet", "--hard", "origin/main")
            return
        tip = self.hand.push()
        self.model.line += [tip] if tip != self.model.tip else []

    @precondition(lambda self: self._releases())
    @rule(number=st.integers(0, 3))
    def reverted(self, number: int) -> None:
        release = self._releases()[-1 - number % len(self._releases())]
        merge = ("-m", "1") if len(self.model.objects.header(release, "parent")) > 1 else ()
        self._person(("revert", "--no-edit", *merge, release))

    @rule()
    def last_commit_reverted(self) -> None:
        """Also somebody's revert."""
        if len(self.model.objects.header(self.model.tip, "parent")) == 1 and len(self.model.line) > 1:
            self._person(("revert", "--no-edit", self.model.tip))

    @rule(pick=picks, number=numbers_of_versions, pull=st.integers(1, 99))
    def squashed_pull_request(self, pick: int, number: int, pull: int) -> None:
        """A release that went through a pull request, as GitHub squashes it."""
        load, version = self._load(pick), VERSIONS[number]
        before = self.model.version(load, load.sites[0], self.model.tip)
        if load.order != "semver" or (numbers(before) or (9,)) >= (numbers(version) or ()):
            return  # going down it would be a `downgrade` of ours, which turns nothing away
        file, _ = self.model.place(load, load.sites[0], self.model.tip)
        label = f"{file}#spec.template.spec.containers[app].image"
        member = Member(load.name, f"{self.stage.host}/acme/{load.name}", before, version, (label,))
        message = compose(ReleaseRecord("release", (member,)), why="newest of all")
        subject, _, body = message.partition("\n")
        body = "\n".join(
            f"    {line}" if line.startswith("Release-Site") else line for line in body.splitlines()
        )
        files = dict(self._moved(load, version, only=0))
        self._committed(files, f"{subject} (#{pull})\n\n* {subject}\n{body}\n")

    @rule(pick=picks, number=numbers_of_versions, moves=st.booleans(), age=st.integers(1, 4))
    def merged_branch(self, pick: int, number: int, moves: bool, age: int) -> None:
        """A branch that began some commits ago, merged by a merge commit."""
        base, load = self.model.line[-min(age, len(self.model.line))], self._load(pick)
        file, match = self.model.place(load, load.sites[0], base)
        text, version = self.model.files(base)[file], self._settable(load, number)
        if moves and version and load.order != "follow":
            text = f"{text[: match.end('image')]}:{version}{text[match.end() :]}"
        side = BareRepo(self.stage.repo.path, "side", self.stage.repo.clock)
        tip = side.commit({file: text, "side.txt": f"{side.clock}\n"}, "On a branch", base=base)
        self.hand.git("fetch", "--quiet", "origin")
        self._person(("merge", "--quiet", "--no-ff", "--no-edit", "-m", "Merge pull request #7", tip))

    @rule(age=st.integers(1, 3))
    def pulled(self, age: int) -> None:
        """Somebody commits on an old tip, pulls, and pushes the merge: its first parent is theirs."""
        base = self.model.line[-min(age, len(self.model.line))]
        self.hand.pull()
        self.hand.git("reset", "--quiet", "--hard", base)
        self.hand.write("mine.txt", f"{self.stage.repo.clock}\n")
        self.hand.commit("My own work")
        words = "Merge branch 'main' of ssh://git.example.com/shop"
        try:
            self.hand.git("merge", "--quiet", "-m", words, "origin/main")
        except AssertionError:
            self.hand.git("merge", "--abort")
            return
        self.model.line.append(self.hand.push())

    @precondition(lambda self: len(self.model.line) > 3)
    @rule(count=st.integers(1, 3))
    def rewound(self, count: int) -> None:
        """Somebody sets the branch back to an older tip."""
        self._set_back(count)
        self.stage.repo.set_tip(self.model.tip)

    def _set_back(self, count: int) -> None:
        for witness in self.witnesses:
            witness.doubts(self.model.line[-count:])
        del self.model.line[-count:]

    # -- pull requests ---------------------------------------------------------------------------------------

    @precondition(lambda self: self._pulls())
    @rule(number=picks, how=st.sampled_from(["merge", "squash", "rebase"]), delete=st.booleans())
    def merged_pull(self, number: int, how: Any, delete: bool) -> None:
        assert isinstance(self.stage, ForgeStage)
        pull = self._pulls()[number % len(self._pulls())]
        self.stage.forge.clock = lambda: datetime.fromtimestamp(self.stage.repo.clock, UTC)
        with contextlib.suppress(Refused):
            tip = self.stage.forge.merge(pull.number, how, delete_branch=delete)
            came = git(self.model.repo, "rev-list", "--first-parent", "--reverse", f"{self.model.tip}..{tip}")
            self.model.line += came.splitlines()
            self.merged.add(self.model.current(DOOR, tip))

    @precondition(lambda self: self._pulls())
    @rule(number=picks, hours=st.sampled_from([0, 2]))
    def closed_pull(self, number: int, hours: int) -> None:
        """A person says no; automator hears of it at once, or when it asks again."""
        assert isinstance(self.stage, ForgeStage)
        pull = self._pulls()[number % len(self._pulls())]
        if pull.head == HEAD and not self._is_asked(pull.head_commit):
            self.model.closed[pull.number] = self.model.version(DOOR, DOOR.sites[0], pull.head_commit)
        self.stage.forge.close(pull.number)
        self.stage.now += timedelta(hours=hours)

    # -- commands --------------------------------------------------------------------------------------------

    @rule(pick=picks, which=either)
    def accepted_again(self, pick: int, which: int) -> None:
        """The highest version that was there, and was turned away."""
        load = self._load(pick)
        held = [s.version for site in load.sites for s in self.model.stays(load, site, self.model.line)]
        gone = self.witnesses[which].doubtful.get(load.name, set())
        if load.order == "follow":
            self._commanded(load, "accept", self.model.tags[load.name][FOLLOWED].digest, which)
            return
        known = [tag for tag in (*held, *gone) if self.model.rank(load, tag) is not None]
        known += self.model.closed.values() if load.proposed else ()
        self._commanded(load, "accept", max(known, key=lambda tag: self.model.rank(load, tag)), which)

    @rule(
        pick=picks,
        kind=st.sampled_from(["rollback", "rollback", "accept", "reject"]),
        number=numbers_of_versions,
        which=either,
    )
    def commanded(self, pick: int, kind: str, number: int, which: int) -> None:
        load = self._load(pick)
        if kind != "reject" or load.order != "follow":
            self._commanded(load, kind, self._version(load, number), which)

    def _commanded(self, load: Load, kind: str, version: str, which: int) -> None:
        """What people ask automator for, by its commands."""
        named = version if kind in ("accept", "reject") else None
        workload = "" if kind in ("freeze", "thaw") else load.name
        why = "because" if kind in ("hold", "freeze", "reject") else None
        request = Request(kind, "Ann Author", why, workload, named)
        before, witness = self.model.tip, self.witnesses[which]
        witness.looks(self.model.line)
        try:
            acted = act(witness.opened().cycles["shop"], request, Terms())
        except (ActionError, ManifestError):
            return
        self.stage.now += timedelta(minutes=1)
        if acted.commit is None:
            return
        assert git(self.model.repo, "rev-parse", f"{acted.commit}^") == before
        unit = self.model.unit(load) if kind == "rollback" else ()
        for one in self.model.loads:
            held = [self.model.versions(one, commit) for commit in (before, acted.commit)]
            assert held[0] == held[1] or one in unit, f"{kind} {load.name} moved {one.name}"
        if kind == "rollback":
            self._judge_rollback(load, before, acted.commit)
        if kind == "accept":
            assert all(self.model.accepts(one, version, acted.commit) for one in self.model.unit(load))
        self.model.line.append(acted.commit)
        witness.looks(self.model.line)

    def _judge_rollback(self, load: Load, before: str, after: str) -> None:
        now, back = self.model.current(load, before), self.model.current(load, after)
        then = {s.version for site in load.sites for s in self.model.stays(load, site, self.model.line)}
        assert back in then - {now}, f"rolled back from {now} to {back}"
        ranks = [self.model.rank(load, version) for version in (back, now)]
        assert None in ranks or ranks[0] < ranks[1], f"from {now} up to {back}"
        reached = {self.model.current(one, after) for one in self.model.unit(load)}
        assert len(reached) == 1, f"{load.name} came apart: {reached}"

    @rule(pick=picks, kind=st.sampled_from(["hold", "freeze"]), which=either)
    def stopped_for_a_cycle(self, pick: int, kind: str, which: int) -> None:
        load = self._load(pick)
        self._commanded(load, kind, "", which)
        self.quiet_cycle(1 - which)
        self._commanded(load, {"hold": "resume", "freeze": "thaw"}[kind], "", which)

    # -- reverting -------------------------------------------------------------------------------------------

    @precondition(lambda self: self._releases())
    @rule()
    def every_release_can_be_reverted(self) -> None:
        """By plain `git revert`, if nothing touched its lines since; the newest of each is tried."""
        self.hand.pull()
        for load in self.model.loads:
            ours = [c for c in self._releases() if self.model.objects.message(c).startswith("Release ")]
            ours = [c for c in ours if self.model.is_ours(load, c)]
            if not ours or not self._untouched(ours[-1]):
                continue
            (before,) = self.model.objects.header(ours[-1], "parent")
            if self.model.versions(load, before) == self.model.versions(load, ours[-1]):
                continue  # a squash of nothing
            changed = git(self.model.repo, "diff", "--name-only", before, ours[-1]).splitlines()
            self.hand.git("revert", "--no-edit", ours[-1])
            for site in load.sites:
                file, match = self.model.place(load, site, before)
                if file not in changed:
                    continue  # a person's squash moves one site alone
                found = site_shape(load.name, site).search(self.hand.read(file))
                assert found is not None
                assert found.group() == match.group()
            self.hand.git("reset", "--quiet", "--hard", "origin/main")

    def _untouched(self, commit: str) -> bool:
        """Whether the files that a commit changed are, but for comments, what they were right after it."""
        changed = git(self.model.repo, "diff", "--name-only", f"{commit}^", commit).splitlines()
        now, then = self.model.files(self.model.tip), self.model.files(commit)
        return all(path in now and _bare(now[path]) == _bare(then.get(path, "")) for path in changed)


def _bare(text: str) -> str:
    return "".join(line for line in text.splitlines(True) if not line.startswith("# Looked"))


@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_people_do_nothing_turned_away_comes_back_and_nothing_is_lost(
    part: int, request: pytest.FixtureRequest
) -> None:
    told = request.config.getoption("hypothesis_seed", None)
    fresh = part if hypothesis.settings().derandomize else secrets.randbits(32)
    seed = fresh if told is None else int(told) if str(told).isdigit() else str(told)
    settings = hypothesis.settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        derandomize=False,
        print_blob=True,
        phases=[hypothesis.Phase.generate],  # making a failure smaller would take an hour
    )
    machine = hypothesis.seed(seed)(type(f"Branch{part}", (Branch,), {}))
    try:
        hypothesis.stateful.run_state_machine_as_test(machine, settings=settings)
    except BaseException as error:
        error.add_note(f"once more: --hypothesis-seed={seed}")
        raise
