"""A stage with a source: a project on the same forge, whose commits CI builds into labelled images."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from parts.forge_projects import Said
from parts.forges import Call
from parts.forgestage import ForgeStage
from parts.gitserver import git

from automator.core.record import ReleaseRecord, parse
from automator.demo.images import push_image
from automator.edges import http

SOURCE = "acme/web"


class SourceStage(ForgeStage):
    """`build` is CI; `refs` is what the newest commit of the config repo names."""

    def __init__(self, folder: Path, stack: ExitStack, kind: str) -> None:
        super().__init__(folder, stack, kind)
        self.source = self.forge.project(SOURCE, {"README.md": "source\n"})
        self.revisions: dict[str, str] = {}

    def build(self, tag: str, *messages: str, project: str = SOURCE, labels: bool = True) -> str:
        """Commits of people, then an image of the last one; its revision."""
        for i, message in enumerate(messages or (f"Work on {tag}",)):
            self.source.commit({f"src/{tag}-{i}": message}, message)
        revision = self.revisions[tag] = str(self.source.tip())
        told = {
            "org.opencontainers.image.source": f"https://{self.forge.host}/{project}",
            "org.opencontainers.image.revision": revision,
        }
        with http.new_session() as session:
            push_image(
                f"http://{self.host}",
                SOURCE,
                tag,
                created=self.now - timedelta(hours=1),
                labels=told if labels else {"tag": tag},
                session=session,
            )
        return revision

    def at(self, tag: str, keys: str = 'semver: ">=1.0 <2"') -> None:
        """web is at a version that is built just now."""
        self.build(tag)
        self.commit(self.workload("web", tag, keys=keys))
        self.run()

    def release(self, tag: str, *messages: str) -> ReleaseRecord:
        """web is released at a version with these changes; the commit's record."""
        self.build(tag, *messages)
        assert self.outcomes()["web"].reason.code == "released/pushed"
        return self.record

    def second(self, version: str, name: str = "second", more: str = "") -> dict[str, str]:
        """Files by which another workload has the same image, each of both in a file of its own."""
        both: dict[str, str] = {}
        for each, keys in (("web", ""), (name, more)):
            file = f"apps/{each}.yaml"
            found = self.workload(
                "web", version, file=file, keys=f'{keys}semver: ">=1.0 <2"\nwhere: {{paths: [{file}]}}'
            )
            both[f"policies/{each}.yaml"] = found["policies/web.yaml"].replace("  web:", f"  {each}:")
            if each != "web":
                both[file] = found[file]
        return both

    @property
    def record(self) -> ReleaseRecord:
        """That of the branch's newest commit."""
        return self.record_of("main")

    def record_of(self, revision: str) -> ReleaseRecord:
        found = parse(self.message(revision))
        assert found is not None
        return found

    def message(self, revision: str = "main") -> str:
        return git(self.repo.path, "log", "-1", "--format=%B", revision)

    def settle(self) -> None:
        """Everything that is due was told."""
        assert self.app.feedback.settle(20)

    def comments(self, number: int, *, issue: bool = False) -> list[Said]:
        """The comments under a pull request or issue of the source."""
        project = self.forge.projects[SOURCE]
        if self.forge.kind == "gitlab" and issue:
            return project.issue_comments.get(number, [])
        return project.comments.get(number, [])

    def asked_of_source(self, method: str = "") -> list[Call]:
        """Requests about the source, as the forge counted them."""
        names = (f"/{SOURCE}/", f"/{SOURCE.replace('/', '%2F')}/")
        return [call for call in self.forge.calls
                if call.method.startswith(method) and any(name in call.path for name in names)]  # fmt: skip
