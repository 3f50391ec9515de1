"""A story told to a config repo, commit by commit with fixed times: what automator released, and what
people did about it. Real commits in a real repository; nobody else takes part."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from parts.gitserver import BareRepo, git
from parts.world import deployment

from automator.core.record import Member, ReleaseRecord
from automator.core.release import compose

HOST = "registry.example.com"
POLICY = "policies/shop.yaml"


def at(text: str) -> datetime:
    """`09-05 10:00` of 2026, in UTC."""
    return datetime.strptime(f"2026-{text}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


def image(name: str) -> str:
    return f"{HOST}/acme/{name}"


@dataclass
class Story:
    """Knows which version each workload is at."""

    repo: BareRepo
    versions: dict[str, str] = field(default_factory=dict)
    policy: str = ""

    def adopt(self, when: str, *, keys: str = "", **versions: str) -> str:
        """Manifests and policies; `keys` are lines for every workload."""
        self.versions |= versions
        told = "".join(f"    {line}\n" for line in keys.splitlines())
        self.policy = "version: 1\nworkloads:\n" + "".join(
            f'  {name}:\n    image: {image(name)}\n    semver: "*"\n{told.replace("NAME", name)}'
            for name in versions
        )
        files = {self.file(name): self.manifest(name) for name in versions}
        return self.commit(when, {**files, POLICY: self.policy}, "Adopt")

    @staticmethod
    def file(name: str) -> str:
        return f"apps/{name}.yaml"

    def manifest(self, name: str) -> str:
        return deployment(f"{image(name)}:{self.versions[name]}", name)

    def site(self, name: str) -> str:
        return f"{self.file(name)}#spec.template.spec.containers[app].image"

    def member(self, name: str, after: str, built: str | None = None) -> Member:
        moment = None if built is None else at(built)
        before = self.versions.get(name, "")
        return Member(name, image(name), before, after, (self.site(name),), moment, None, POLICY)

    def commit(self, when: str, files: dict[str, str], message: str, author: str = "Ann Author") -> str:
        self.repo.clock = int(at(when).timestamp()) - 60
        return self.repo.commit(files, message, author=author)

    def release(
        self,
        when: str,
        *,
        built: str | None = None,
        source: str | None = None,
        kind: str = "release",
        actor: str | None = None,
        reason: str | None = None,
        **versions: str,
    ) -> str:
        """One commit of ours, for a group where there are several workloads; `source` is when the commit
        was made that it was built from."""
        files, message = self._release(built, kind, actor, reason, versions, source)
        return self.commit(when, files, message, "automator")

    def _release(
        self,
        built: str | None,
        kind: str,
        actor: str | None,
        reason: str | None,
        versions: dict[str, str],
        source: str | None = None,
    ) -> tuple[dict[str, str], str]:
        made = None if source is None else at(source)
        members = tuple(
            replace(self.member(name, version, built), source_time=made) for name, version in versions.items()
        )
        message = compose(ReleaseRecord(kind, members, actor, reason), why='newest in semver "*" of 9 tags')
        self.versions |= versions
        return {self.file(name): self.manifest(name) for name in versions}, message

    def merged(
        self, made: str, when: str, *, number: int, by: str = "Rita Reviewer", **versions: str
    ) -> tuple[str, str]:
        """A release of ours on a branch of its own, and the merge of it that a forge makes."""
        files, message = self._release(None, "release", None, None, versions)
        base = self.repo.tip()
        assert base is not None
        side = BareRepo(self.repo.path, f"pull-{number}", int(at(made).timestamp()) - 60)
        tip = side.commit(files, message, author="automator", base=base)
        moment = f"{int(at(when).timestamp())} +0000"
        mail = f"{by.split()[0].lower()}@example.org"
        commit = git(
            self.repo.path,
            *("commit-tree", f"{tip}^{{tree}}", "-p", base, "-p", tip),
            *("-m", f"Merge pull request #{number} from acme/automator/web\n\nRelease"),
            GIT_AUTHOR_NAME=by,
            GIT_AUTHOR_EMAIL=mail,
            GIT_COMMITTER_NAME=by,
            GIT_COMMITTER_EMAIL=mail,
            GIT_AUTHOR_DATE=moment,
            GIT_COMMITTER_DATE=moment,
        )
        self.repo.set_tip(commit)
        return tip, commit

    def by_hand(self, when: str, author: str = "Ann Author", **versions: str) -> str:
        """A person edits manifests."""
        self.versions |= versions
        files = {self.file(name): self.manifest(name) for name in versions}
        return self.commit(when, files, "Set versions", author)

    def revert(self, when: str, commit: str, author: str = "Ann Author", **back: str) -> str:
        """A person reverts a release, as `git revert` writes it; `back` is where it leads."""
        self.versions |= back
        files = {self.file(name): self.manifest(name) for name in back}
        message = f'Revert "Release"\n\nThis reverts commit {commit}.\n'
        return self.commit(when, files, message, author)

    def reject(self, when: str, name: str, version: str, actor: str) -> str:
        """What `automator reject` commits."""
        member = Member(name, image(name), after=version, policy=POLICY)
        self.policy += f"# {version} is not to be had\n"
        message = compose(ReleaseRecord("reject", (member,), actor, "it leaks"), why="never taken")
        return self.commit(when, {POLICY: self.policy}, message, actor)


def may(repo: BareRepo) -> Story:
    """What September has not: a source's commit, one release superseded before the rollback past both, a
    pull request that is reverted, the revert of that revert, and a clock in another time zone."""
    story = Story(repo)
    story.adopt("05-01 00:00", keys="owner: team-NAME\nenvironment: NAME-live", web="1.0.0", api="1.0.0")
    story.release("05-05 10:00", source="05-05 06:00", built="05-05 08:00", web="1.1.0")
    story.release("05-05 12:00", built="05-05 11:00", web="1.2.0")
    story.release("05-05 15:00", kind="rollback", actor="bob", reason="errors", web="1.0.0")
    _, merge = story.merged("05-12 09:00", "05-12 18:00", number=12, web="1.3.0")
    back = story.revert("05-12 20:00", merge, web="1.0.0")
    story.revert("05-13 20:00", back, web="1.3.0")
    story.release("05-20 10:00", built="05-19 10:00", web="1.4.0", api="1.1.0")
    story.release("05-31 20:30", built="05-31 19:30", web="1.5.0")
    told = git(repo.path, "cat-file", "commit", "main") + "\n"
    assert told.count(" +0000\n") == 2
    elsewhere = told.replace(" +0000\n", " +0530\n")  # the same moment, and there it is June already
    repo.set_tip(git(repo.path, "hash-object", "-t", "commit", "-w", "--stdin", feed=elsewhere.encode()))
    return story


def september(repo: BareRepo) -> Story:
    """The month that docs/metrics.md is held to: the tests tell what comes of it, counted by hand."""
    story = Story(repo)
    story.adopt("08-20 10:00", keys="owner: team-NAME\nenvironment: production", web="1.0.0", api="2.0.0")
    story.release("09-01 10:00", built="09-01 09:00", web="1.1.0")
    bad = story.release("09-02 12:00", built="09-02 09:00", web="1.2.0")
    story.revert("09-02 14:00", bad, web="1.1.0")
    story.release("09-03 09:00", built="09-03 08:00", web="1.2.1")
    story.release("09-05 10:00", built="09-04 10:00", web="1.3.0", api="2.1.0")
    story.release("09-06 10:00", kind="rollback", actor="bob", reason="errors", api="2.0.0")
    story.by_hand("09-10 08:00", api="2.2.0")
    story.reject("09-10 09:30", "api", "2.2.0", "carol")
    story.by_hand("09-10 20:00", api="2.0.0")
    story.release("09-15 10:00", built="09-15 12:00", web="1.4.0")
    forged = compose(ReleaseRecord("release", (story.member("web", "9.9.9"),)), why="forged")
    story.commit("09-20 10:00", {"notes.md": "nothing of the kind\n"}, forged, "Mallory M")
    story.release("10-02 10:00", built="10-02 09:00", web="1.5.0")
    return story
