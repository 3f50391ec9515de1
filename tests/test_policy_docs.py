"""docs/policies.md holds: its tables are the models', and every example comes out as it says.

An example is one or more `yaml` blocks (policy files; the first line may name the file) and a `text`
block that tells a story about them, line by line:

    web:                                        what follows is about the tags of this workload
    1.4.3      kept | chosen | dropped, tag/range        (`chosen as 57` names the key)

    now 2026-11-20 10:30                        UTC; the day before it, if nothing is said
    web has 1.4.2, 1.4.0                        its sites (`web in FILE has …`; `7@a1`: with a digest)
    web had 1.4.3 before                        until Ann changed it by hand
    registry 1.4.3, seen 12m ago, digest a1, built 2026-11-19, for linux/amd64
    staging has had 1.4.3 for 26h               upstream; also: `had … for …`, `rejected 1.4.3`
    => web: released 1.4.3@a1                   what is written then
    => waiting until 10:48, guard/min-age       any other outcome
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from automator.cli.schema import CRON, DURATION, TIME, schema_of
from automator.core.decide import Decision, Facts, Need, Release, Sighting, Stay, decide, site_key
from automator.core.duration import format_moment, parse_duration
from automator.core.facts import Signature, SignatureKey, Unavailable
from automator.core.guardrails import bind
from automator.core.history import FileChange, FileVersion, SiteHistory, site_history
from automator.core.policy import PolicySet, Workload, parse_policies
from automator.core.promotion import Stay as Stayed
from automator.core.promotion import Upstream
from automator.core.reference import Image, TagList
from automator.core.rewrite import Edit, rewrite
from automator.core.rule import Candidate
from automator.core.site import Site, locate
from automator.core.together import Member, decide_group
from automator.core.version import Constraint
from automator.reasons import CODES, Reason, Status

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")


# -- examples ----------------------------------------------------------------------------------------


class Example(NamedTuple):
    files: Mapping[str, str]
    story: tuple[str, ...]


def examples() -> Iterator[Any]:
    """Each story with the policy files before it."""
    files: dict[str, str] = {}
    heading, count = "", 0
    for match in re.finditer(r"^#+ ([^\n]*)$|^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        title, kind, text = match.groups()
        if title is not None and kind is None:
            heading, count, files = title.replace("`", ""), 0, {}
        elif kind == "yaml":
            named = re.match(r"# (policies/\S+)", text)
            files[named[1] if named else "policies/shop.yaml"] = text
        elif kind == "text":
            count += 1
            story = tuple(line for line in text.splitlines() if line.strip())
            yield pytest.param(Example(files, story), id=f"{heading}-{count}")
            files = {}


EXAMPLES = list(examples())


def digest(tag: str) -> str:
    return "sha256:" + hashlib.sha256(tag.encode()).hexdigest()


def widened(value: str) -> str:
    """`7@a1` with the whole digest."""
    return re.sub(r"@([0-9a-f]{2})\b", lambda m: f"@sha256:{m[1] * 32}", value)


def shortened(value: str) -> str:
    """`7@a1`, for a digest that an example names; other digests are nobody's business."""
    value = re.sub(r"@sha256:([0-9a-f]{2})\1{31}", r"@\1", value)
    return re.sub(r"@sha256:[0-9a-f]{64}", "@…", value)


class Story:
    """The world of an example, told line by line."""

    def __init__(self, policies: PolicySet) -> None:
        self.policies = policies
        self.now = datetime(2026, 11, 20, 10, tzinfo=UTC)
        self.texts: dict[str, str] = {}
        self.sites: dict[str, tuple[Site, ...]] = {}
        self.older: dict[str, list[str]] = {}
        self.images: dict[str, Image] = {}
        self.seen: dict[str, Sighting] = {}
        self.signers: dict[str, str] = {}
        self.stays: dict[str, list[Stayed]] = {}
        self.rejected: dict[str, set[tuple[str, None]]] = {}
        self.subject: str | None = None
        self.judged: dict[str, str] = {}

    LINES = (
        (r"now (.+)", "_now"),
        (r"(\S+) has had (\S+) for (\S+)", "_stays_there"),
        (r"(\S+) had (\S+) for (\S+)", "_was_there"),
        (r"(\S+) rejected (\S+)", "_rejected"),
        (r"(\S+)(?: in (\S+))? has (.+)", "_has"),
        (r"(\S+) had (\S+) before", "_had"),
        (r"registry (.+)", "_registry"),
        (r"=> (?:(\S+): )?(.+)", "outcome"),
        (r"(\S+):", "_about"),
        (r"(\S+) +((?:kept|chosen|dropped).*)", "_judge"),
    )

    def tell(self, line: str) -> None:
        for pattern, name in self.LINES:
            if match := re.fullmatch(pattern, line.strip()):
                getattr(self, name)(*match.groups())
                return
        raise AssertionError(f"what does this line say? {line}")

    def workload(self, name: str | None) -> Workload:
        names = [w.name for w in self.policies.workloads]
        wanted = name or self.subject or next(iter(self.sites), names[0])
        (found,) = (w for w in self.policies.workloads if w.name == wanted)
        assert isinstance(found, Workload), found
        return found

    # -- tags

    def _about(self, name: str) -> None:
        self.subject = name

    def _judge(self, tag: str, verdict: str) -> None:
        judged = self.workload(None).rule.judge(tag)
        if isinstance(judged, Candidate):
            word, _, key = verdict.partition(" as ")
            assert word in ("kept", "chosen"), f"{tag} is kept"
            assert not key or key == judged.key
            self.judged[tag] = word
            accepted = [self.workload(None).rule.judge(t) for t, w in self.judged.items() if w]
            best = max((c for c in accepted if isinstance(c, Candidate)), key=lambda c: (c.rank, c.tag))
            self.best = best.tag
        else:
            assert verdict == f"dropped, {judged.code}", f"{tag} is dropped, {judged.code}"

    def end(self) -> None:
        chosen = [tag for tag, word in self.judged.items() if word == "chosen"]
        assert chosen in ([], [getattr(self, "best", None)])

    # -- facts

    def _now(self, text: str) -> None:
        self.now = datetime.fromisoformat(text).replace(tzinfo=UTC)

    def _has(self, name: str, file: str | None, versions: str) -> None:
        repository = self.workload(name).repository
        found: tuple[Site, ...] = ()
        for i, version in enumerate(versions.split(", ")):
            path = file or f"apps/{name}-{i}.yaml"
            self.texts[path] = f"image: {repository}:{widened(version)}\n"
            found += tuple(site.at(path) for site in locate(self.texts[path], path).sites)
        self.sites[name] = found

    def _had(self, name: str, version: str) -> None:
        self.older.setdefault(name, []).append(widened(version))

    def _registry(self, text: str) -> None:
        tag, *told = text.split(", ")
        if not told:
            self.images |= {tag: Image(digest(tag)) for tag in text.split()}
            return
        facts = dict(fact.split(" ", 1) for fact in told)
        platforms = tuple(sorted(facts["for"].split())) if "for" in facts else None
        built = datetime.fromisoformat(facts["built"]).replace(tzinfo=UTC) if "built" in facts else None
        own = widened(f"@{facts['digest']}")[1:] if "digest" in facts else digest(tag)
        self.images[tag] = Image(own, built=built, platforms=platforms)
        if "signed" in facts:
            self.signers[own] = facts["signed"].removeprefix("by ")
        if "seen" in facts:
            self.seen[tag] = Sighting(own, self.now - parse_duration(facts["seen"].removesuffix(" ago")))

    def _stays_there(self, name: str, tag: str, age: str) -> None:
        stay = Stayed(tag, self._digest(tag), self.now - parse_duration(age), None)
        self.stays.setdefault(name, []).append(stay)

    def _was_there(self, name: str, tag: str, age: str) -> None:
        since = self.now - timedelta(days=30)
        stay = Stayed(tag, self._digest(tag), since, since + parse_duration(age))
        self.stays.setdefault(name, []).append(stay)

    def _rejected(self, name: str, tag: str) -> None:
        self.rejected.setdefault(name, set()).add((tag, None))

    def _digest(self, tag: str) -> str:
        return self.images[tag].digest

    # -- outcomes

    def outcome(self, name: str | None, wanted: str) -> None:
        found = self._decided(self.workload(name))
        assert self._shown(found) == wanted, found

    def _decided(self, workload: Workload) -> Decision | Reason:
        mine = self._member(workload)
        if isinstance(mine, Reason):
            return mine
        if workload.group is None:
            answer = decide(mine.workload, mine.sites, mine.tags, mine.facts, self.now)
        else:
            same = [
                w for w in self.policies.workloads if isinstance(w, Workload) and w.group == workload.group
            ]
            members = [self._member(w) for w in same if w.name in self.sites]
            assert not any(isinstance(member, Reason) for member in members)
            answer = decide_group(workload.group, members, {}, self.now)[workload.name]  # type: ignore[arg-type]
        assert not isinstance(answer, Need), answer
        return answer

    def _member(self, workload: Workload) -> Member | Reason:
        sites = self.sites[workload.name]
        bound = bind(workload, [site.file for site in sites], self.policies.rails)
        if isinstance(bound, Reason):
            return bound
        facts = Facts(
            built={tag: image.built for tag, image in self.images.items()},
            images=self.images,
            histories={site_key(site): self._past(workload.name, site) for site in sites},
            seen=self.seen,
            signatures=self._signatures(bound),
            upstreams={
                other: (
                    Upstream(
                        other, tuple(self.stays.get(other, ())), frozenset(self.rejected.get(other, ()))
                    ),
                )
                for other in {*self.stays, *self.rejected}
            },
        )
        return Member(bound, sites, TagList(bound.repository, tuple(self.images), self.now, ""), facts)

    def _signatures(self, workload: Workload) -> dict[SignatureKey, Signature | Unavailable]:
        """Who signed what."""
        wanted = workload.guards.signed_by
        return {
            (image.digest, wanted): Signature(
                self.now, all(self.signers.get(image.digest) in any_of for any_of in wanted), *wanted[:1]
            )
            for image in self.images.values()
        }

    def _past(self, name: str, site: Site) -> SiteHistory:
        """What Ann did to the site, newest first."""
        contents = [self.texts[site.file]]
        repository = self.workload(name).repository
        contents += [f"image: {repository}:{version}\n" for version in self.older.get(name, ())]
        versions = []
        for i, content in enumerate(contents):
            before = contents[i + 1] if i + 1 < len(contents) else None
            sides = [None if text is None else locate(text, site.file).sites for text in (before, content)]
            change = FileChange(
                commit=f"{i:040x}",
                author="Ann",
                time=self.now - timedelta(days=i + 1),
                message="by hand",
                path=site.file,
                before=None if before is None else f"old{i}",
                after=f"new{i}",
            )
            versions.append(FileVersion(change, *sides))
        return site_history(tuple(versions), site, True)

    def _shown(self, found: Decision | Reason) -> str:
        if isinstance(found, Reason):
            return f"held, {found.code}"
        if isinstance(found, Stay):
            at = found.reason.changes_at
            until = "" if at is None else f" until {format_moment(at, self.now).removesuffix(' UTC')}"
            return f"{found.status}{until}, {found.reason.code}"
        assert isinstance(found, Release)
        written = set()
        for site in found.sites:
            edit = Edit(site, found.tag, found.image.digest, found.workload.pin == "digest")
            after = rewrite(self.texts[site.file], [edit], site.file)
            written.add(after.strip().removeprefix(f"image: {found.workload.repository}:"))
        (value,) = written
        return f"released {shortened(value)}"


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_comes_out_as_the_page_says(example: Example) -> None:
    policies = parse_policies(example.files)
    assert [why.sentence for _, why in (*policies.problems, *policies.warnings)] == []
    tell(example)


def tell(example: Example) -> None:
    story = Story(parse_policies(example.files))
    for line in example.story:
        story.tell(line)
    story.end()


def test_every_key_has_an_example() -> None:
    shown = "\n".join(re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
    for name in ("Keys", "Where", "Hold", "Window", "After", "Group", "PullRequest", "Urgent"):
        for key in schema_of("policy")["$defs"][name]["properties"]:
            assert re.search(rf"\b{key}:", shown), f"{name}.{key}"
    for key in schema_of("rules")["$defs"]["Rule"]["properties"]:
        assert re.search(rf"\b{key}:", shown), f"rules: {key}"


def test_a_wrong_story_is_noticed() -> None:
    files = {"shop.yaml": "version: 1\nworkloads: {web: {image: ghcr.io/acme/web, semver: '1.x'}}"}
    for lines in (
        ["1.4.2  chosen", "1.5.0  kept"],
        ["1.4.2  dropped, tag/range"],
        ["2.0.0  kept"],
        ["2.0.0  dropped, tag/prerelease"],
        ["web has 1.4.2", "registry 1.4.3", "=> released 1.4.2"],
        ["web has 1.4.2", "registry 1.4.3", "=> held, guard/step"],
        ["web should have 1.4.2"],
    ):
        with pytest.raises(AssertionError):
            tell(Example(files, tuple(lines)))


# -- tables ------------------------------------------------------------------------------------------


def rows(title: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    _, _, rest = PAGE.partition(f"\n{title}\n")
    assert rest, title
    section = re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


WORDS = {DURATION: "duration", TIME: "time", CRON: "cron"}


def values(node: Mapping[str, Any]) -> str:
    """What a key takes, in the words of the page."""
    if "enum" in node:
        return " \\| ".join(f"`{word}`" for word in node["enum"])
    if "const" in node:
        return f"`{node['const']}`"
    if "anyOf" in node:
        return " or ".join(dict.fromkeys(values(one) for one in node["anyOf"]))
    if "$ref" in node:
        return "mapping"
    match node["type"]:
        case "array":
            inner = values(node["items"])
            return {"mapping": "list of mappings"}.get(
                inner, "list of text" if "\\|" not in inner else "list of keys"
            )
        case "boolean":
            return "`true` \\| `false`"
        case "string":
            return WORDS.get(node.get("pattern", ""), "text")
    raise AssertionError(node)


def expected(properties: Mapping[str, Any]) -> list[list[str]]:
    return [
        [
            f"`{key}`",
            values(node),
            ""
            if "default" not in node
            else f"`{str(node['default']).lower() if node['default'] is False else node['default']}`",
            node["description"],
        ]
        for key, node in properties.items()
    ]


TABLES = {
    "### Keys of a workload": ("policy", "Keys"),
    "### Keys of `where`": ("policy", "Where"),
    "### Keys of `hold` and `freeze`": ("policy", "Hold"),
    "### Keys of one of `windows`": ("policy", "Window"),
    "### Keys of `after`": ("policy", "After"),
    "### Keys of `group`": ("policy", "Group"),
    "### Keys of `pull_request`": ("policy", "PullRequest"),
    "### Keys of `urgent`": ("policy", "Urgent"),
    "### Keys of a rule": ("rules", "Rule"),
}


@pytest.mark.parametrize("title", TABLES)
def test_a_table_of_keys_is_that_of_the_models(title: str) -> None:
    kind, name = TABLES[title]
    wanted = expected(schema_of(kind)["$defs"][name]["properties"])
    assert rows(title) == wanted, "\n" + "\n".join(f"| {' | '.join(row)} |" for row in wanted)


@pytest.mark.parametrize("row", rows("## Ranges"), ids=lambda row: row[0])
def test_a_row_of_the_table_of_ranges_holds(row: list[str]) -> None:
    spellings, interval, inside, outside = (cell.replace("\\|", "|") for cell in row)
    for text in re.findall(r"`([^`]+)`", spellings):
        constraint = Constraint.parse(text)

        def allows(tag: str, constraint: Constraint = constraint) -> bool:
            return constraint.allows(tag, prereleases=True)

        assert [tag for tag in inside.strip("`").split() if not constraint.allows(tag)] == []
        assert [tag for tag in outside.strip("`").split() if constraint.allows(tag)] == []
        # The edges: nothing just below the first or from the second on, pre-releases counted.
        if low := re.search(r"(\S+) ≤ v", interval):
            assert allows(low[1])
            assert "-" in low[1] or not allows(f"{low[1]}-0")
        if above := re.search(r"v > (\S+)", interval):
            assert not allows(above[1])
        if high := re.search(r"v < ([^\s,]+)", interval):
            assert not allows(high[1])
            assert "-" in high[1] or allows(f"{high[1]}-0")
        if last := re.search(r"v ≤ (\S+)", interval):
            assert allows(last[1])


@pytest.mark.parametrize("row", rows("### Pre-releases"), ids=lambda row: f"{row[0]} {row[1]}")
def test_a_row_of_the_table_of_prereleases_holds(row: list[str]) -> None:
    text, mode, taken, refused = (cell.replace("`", "") for cell in row)
    policy = f'version: 1\nworkloads: {{web: {{image: a/b, semver: "{text}", prereleases: {mode}}}}}\n'
    (workload,) = parse_policies({"shop.yaml": policy}).workloads
    assert isinstance(workload, Workload)
    assert [tag for tag in taken.split() if not isinstance(workload.rule.judge(tag), Candidate)] == []
    assert [tag for tag in refused.split() if isinstance(workload.rule.judge(tag), Candidate)] == []


@pytest.mark.parametrize("row", rows("### Orders"), ids=lambda row: row[0])
def test_a_row_of_the_table_of_orders_holds(row: list[str]) -> None:
    """Third column: tags from the lowest to the highest; fourth: what cannot be read."""
    keys, ascending, unreadable = (cell.replace("`", "") for cell in (row[0], row[2], row[3]))
    policy = f"version: 1\nworkloads: {{web: {{image: a/b, {keys}}}}}\n"
    (workload,) = parse_policies({"shop.yaml": policy}).workloads
    assert isinstance(workload, Workload)
    judged = [workload.rule.judge(tag) for tag in ascending.split()]
    ranks = [c.rank for c in judged if isinstance(c, Candidate)]
    assert len(ranks) == len(judged)
    assert ranks == sorted(set(ranks))
    codes = {getattr(workload.rule.judge(tag), "code", "kept") for tag in unreadable.split()}
    assert codes <= {"tag/unreadable"}


def test_the_table_of_outcomes_names_all_five_and_codes_of_each() -> None:
    found = rows("## What an outcome means")
    assert [row[0].strip("`*") for row in found] == list(Status)
    assert all(code in CODES for row in found for code in re.findall(r"`(\w+/[a-z-]+)`", row[2]))
