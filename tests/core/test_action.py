"""Actions as values: what a command changes in policy files, what it refuses, and that undoing it gives the
bytes back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts.deciding import digest, sites, workload

from automator.core.action import (
    Change,
    FileEdit,
    Move,
    Nothing,
    Request,
    actor_name,
    edit_policies,
    move_versions,
)
from automator.core.policy import Workload, parse_policies
from automator.core.record import parse
from automator.core.reference import Image
from automator.errors import ActionError, ManifestError

FILE = "policies/shop.yaml"
UNTIL = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
NOW = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)

INDENTS = st.sampled_from([1, 2, 3, 4, 8])
ENDS = st.sampled_from(["\n", "\r\n"])
COMMENTS = st.sampled_from(["", "  # why", "\t# tab", " # äö 🦊"])
VERSIONS = st.sampled_from(["1.4.3", "v1.4.3", "1.10", "2.0.0-rc.1", "0123", "1e3", "20240101"])
REASONS = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="{}"), min_size=1)


@st.composite
def files(draw: st.DrawFn) -> str:
    """A valid policy file with web and api, in some layout."""
    step = " " * draw(INDENTS)
    text = draw(st.sampled_from(["", "# head\n\n", "\ufeff", "---\n"])) + "version: 1\n"
    text += draw(st.sampled_from(["", f"defaults:\n{step}owner: shop\n"])) + "workloads:\n"
    for name in draw(st.permutations(["web", "api"])):
        text += f"{step}{name}:{draw(COMMENTS)}\n{step * 2}image: ghcr.io/acme/{name}{draw(COMMENTS)}\n"
        text += f'{step * 2}semver: ">=0"\n'
        text += draw(st.sampled_from(["", f"{step * 2}prereleases: allow{draw(COMMENTS)}\n", "\n"]))
    if draw(st.booleans()):
        text = text.rstrip("\n")
    return text.replace("\n", draw(ENDS))


def asked(
    kind: str, text: str, name: str = "web", version: str | None = None, **more: object
) -> Change | Nothing:
    """What a request makes of one policy file."""
    request = Request(kind, "Ann", str(more.pop("why", "audit")), name, version, **more)  # type: ignore[arg-type]
    return done(request, {FILE: text})


def done(request: Request, texts: dict[str, str]) -> Change | Nothing:
    entries = {w.name: w for w in parse_policies(texts).workloads}
    return edit_policies(request, texts, entries, "policies", NOW)


def after(change: Change | Nothing) -> str:
    assert isinstance(change, Change)
    (edit,) = change.edits
    assert edit.after is not None
    return edit.after


def entry(text: str, name: str = "web") -> Workload:
    policies = parse_policies({FILE: text})
    assert not policies.problems
    (found,) = (w for w in policies.workloads if w.name == name)
    assert isinstance(found, Workload)
    return found


def why_not(kind: str, text: str, version: str | None = None) -> str:
    with pytest.raises((ActionError, ManifestError)) as raised:
        asked(kind, text, version=version)
    return raised.value.reason.code


# -- laws ---------------------------------------------------------------------------------------------


@given(files(), REASONS, st.booleans())
def test_resume_gives_the_bytes_back_that_hold_changed(text: str, why: str, ends: bool) -> None:
    held = after(asked("hold", text, why=why, until=UNTIL if ends else None))
    found = entry(held).hold
    assert found is not None
    assert found.until == (UNTIL if ends else None)
    assert entry(held, "api") is not None
    assert isinstance(asked("hold", held, why=why, until=UNTIL if ends else None), Nothing)
    assert after(asked("resume", held)) == text
    assert isinstance(asked("resume", text), Nothing)


@given(files(), VERSIONS)
def test_a_version_is_under_one_of_accept_and_reject(text: str, version: str) -> None:
    rejected = after(asked("reject", text, version=version))
    assert entry(rejected).rule.reject == (version,)
    accepted = after(asked("accept", rejected, version=version))
    assert (entry(accepted).rule.reject, entry(accepted).accept) == ((), (version,))
    assert after(asked("reject", accepted, version=version)) == rejected
    assert isinstance(asked("reject", rejected, version=version), Nothing)
    assert entry(accepted, "api").accept == ()


@given(files(), REASONS)
def test_thaw_gives_the_bytes_back_that_freeze_changed(text: str, why: str) -> None:
    request = Request("freeze", "Ann", why, file=FILE)
    frozen = after(done(request, {FILE: text}))
    assert len(entry(frozen).freezes) == 1
    assert after(done(Request("thaw", "Ann", file=FILE), {FILE: frozen})) == text
    whole = done(Request("freeze", "Ann", why, until=UNTIL), {FILE: text})
    assert isinstance(whole, Change)
    ((file, before, new),) = whole.edits
    assert (file, before) == ("policies/_freeze.yaml", None)
    thawed = done(Request("thaw", "Ann"), {FILE: text, file: str(new)})
    assert isinstance(thawed, Change)
    assert thawed.edits == (FileEdit(file, new, None),)


# -- policies -----------------------------------------------------------------------------------------

PLAIN = "version: 1\nworkloads:\n  web:\n    image: ghcr.io/acme/web\n    semver: 1.x\n"


def test_another_spelling_of_a_version_is_the_same_version() -> None:
    text = PLAIN + "    reject: [v1.4.3, 1.4.4]\n"
    accepted = entry(after(asked("accept", text, version="1.4.3")))
    assert (accepted.rule.reject, accepted.accept) == (("1.4.4",), ("1.4.3",))


def test_a_list_of_its_own_begins_with_that_of_the_defaults() -> None:
    text = PLAIN.replace("workloads:", "defaults:\n  reject: [1.0.0]\nworkloads:")
    assert entry(after(asked("reject", text, version="1.4.3"))).rule.reject == ("1.0.0", "1.4.3")
    assert why_not("accept", text, "1.0.0") == "action/inherited"


def test_what_stands_in_the_defaults_is_left_to_a_person() -> None:
    text = PLAIN.replace("workloads:", "defaults:\n  hold: {reason: audit}\nworkloads:")
    assert why_not("resume", text) == "action/inherited"
    own = entry(after(asked("hold", text, why="mine"))).hold
    assert own is not None
    assert own.reason == "mine"


def test_accept_is_for_all_members_of_a_group_that_is_at_one_version() -> None:
    grouped = "    group: shop\n"
    text = PLAIN + grouped + PLAIN.partition("workloads:\n")[2].replace("web", "api") + grouped
    change = asked("accept", text, version="1.4.3")
    assert [member.workload for member in parse_record(change).members] == ["api", "web"]
    assert entry(after(change), "api").accept == entry(after(change)).accept == ("1.4.3",)
    assert entry(after(asked("reject", text, version="1.4.3")), "api").rule.reject == ()


def parse_record(change: Change | Nothing):  # type: ignore[no-untyped-def]
    """What the commit's message says, read back."""
    assert isinstance(change, Change)
    assert parse(change.draft(None).message) == change.record
    return change.record


def test_a_followed_tag_has_digests_for_versions() -> None:
    text = PLAIN.replace("semver: 1.x", 'follow: "7"')
    assert why_not("reject", text, "7") == "action/no-version"
    one = digest("one")
    assert entry(after(asked("reject", text, version=f"7@{one}"))).rule.reject == (one,)
    assert parse_record(asked("accept", text, version=one)).members[0].after == f"@{one}"


@pytest.mark.parametrize("version", ["", "no tag", "-x", "1.4.3+build", "{{ x }}", "sha256:12"])
def test_what_no_tag_can_be_is_no_version(version: str) -> None:
    assert why_not("reject", PLAIN, version) == "action/no-version"


def test_an_invalid_workload_is_stopped_but_not_judged() -> None:
    text = PLAIN.replace("semver", "semvr")
    assert isinstance(asked("hold", text), Change)
    assert why_not("accept", text, "1.4.3") == "action/invalid"


def test_a_freeze_of_somebody_else_is_not_replaced() -> None:
    theirs = "version: 1\nfreeze: {reason: theirs}\n"
    with pytest.raises(ActionError) as raised:
        done(Request("freeze", "Ann", "mine"), {FILE: PLAIN, "policies/_freeze.yml": theirs})
    assert raised.value.reason.code == "action/frozen"
    same = done(Request("freeze", "Ann", "theirs"), {FILE: PLAIN, "policies/_freeze.yml": theirs})
    assert isinstance(same, Nothing)
    broken = {FILE: PLAIN, "policies/_freeze.yaml": "version: 1\nfreeze: ["}
    with pytest.raises(ActionError):
        done(Request("freeze", "Ann", "mine"), broken)
    thawed = done(Request("thaw", "Ann"), broken)
    assert isinstance(thawed, Change)
    assert thawed.edits[0].after is None


def test_thaw_leaves_what_a_person_wrote_beside_a_freeze() -> None:
    file, ended = "policies/_freeze.yaml", "2020-01-01T00:00:00Z"
    theirs = f"# Ask Eve before you thaw\nversion: 1\nfreeze:\n  reason: audit\n  until: {ended}\n"
    frozen = done(Request("freeze", "Ann", "Friday #1"), {FILE: PLAIN, file: theirs})
    assert isinstance(frozen, Change)
    thawed = done(Request("thaw", "Ann"), {FILE: PLAIN, file: str(frozen.edits[0].after)})
    assert isinstance(thawed, Change)
    text = thawed.edits[0].after
    assert text is not None
    assert text.startswith("# Ask Eve before you thaw\n")
    (freeze,) = parse_policies({FILE: PLAIN, file: text}).workloads[0].freezes  # type: ignore[union-attr]
    assert not freeze.stops(NOW)
    assert isinstance(done(Request("thaw", "Ann"), {FILE: PLAIN, file: text}), Nothing)


@pytest.mark.parametrize(
    ("version", "next_step"),
    [
        ("2", "use the automator that wrote the file"),
        ("&v 3", "use the automator that wrote the file"),
        ("0", "write `version: 1`"),
        ("v2", "write the number 1"),
        ("'2'", "write the number 1"),
        ("[1, 2]", "write the number 1"),
    ],
)
def test_nothing_is_edited_in_a_file_of_another_format(version: str, next_step: str) -> None:
    theirs = PLAIN.replace("version: 1", f"version: {version}")
    other, own = "policies/_freeze.yaml", "policies/_freeze.yml"
    freeze = f"version: {version}\nfreeze: {{scope: only-prod, until: forever, reason: audit}}\n"
    held = theirs + "    hold: {reason: audit, kind: v2}\n"
    texts: list[tuple[Request, dict[str, str]]] = [
        (Request("hold", "Ann", "audit", "web"), {FILE: theirs}),
        (Request("hold", "Ann", "audit", "web"), {FILE: held}),
        (Request("resume", "Ann", None, "web"), {FILE: held}),
        (Request("reject", "Ann", "audit", "web", "1.4.3"), {FILE: theirs}),
        (Request("accept", "Ann", None, "web", "1.4.3"), {FILE: theirs}),
        (Request("freeze", "Ann", "audit", file=FILE), {FILE: theirs}),
        (Request("thaw", "Ann", file=FILE), {FILE: f"{theirs}freeze: {{reason: audit}}\n"}),
        (Request("freeze", "Ann", "audit"), {FILE: PLAIN, other: freeze}),
        (Request("thaw", "Ann"), {FILE: PLAIN, other: freeze}),
        (Request("thaw", "Ann"), {FILE: PLAIN, other: freeze, own: "version: 1\nfreeze: {reason: ours}\n"}),
        (Request("thaw", "Ann"), {FILE: PLAIN, other: freeze + "---\nmore: {}\n"}),
    ]
    for request, files in texts:
        with pytest.raises(ActionError) as raised:
            done(request, files)
        told = raised.value.reason
        assert told.code == "action/other-format", request
        place = f"{FILE if request.workload or request.file else other}:1: version"
        assert told.sentence.startswith(f"a file of another format is not edited: {place}")
        assert told.next_step.startswith(next_step)


def test_a_file_that_says_no_version_or_misspells_ours_is_edited_as_before() -> None:
    for version in ("", "version:\n", "version: ~\n", "version: '1'\n", 'version: "1.0"\n', "version: 1.0\n"):
        text = PLAIN.replace("version: 1\n", version)
        assert "hold:" in after(asked("hold", text))
        frozen = f"{version}freeze: {{reason: audit}}\n"
        assert not isinstance(
            done(Request("thaw", "Ann"), {FILE: PLAIN, "policies/_freeze.yaml": frozen}), Nothing
        )
    thawed = done(Request("thaw", "Ann"), {FILE: PLAIN, "policies/_freeze.yaml": "freeze: {reason: audit}\n"})
    assert isinstance(thawed, Change)
    assert thawed.edits[0].after is None


def test_a_newer_file_beside_it_does_not_keep_a_workload_from_being_held() -> None:
    files = {FILE: PLAIN, "policies/_freeze.yaml": "version: 2\nfreeze: {reason: audit}\n"}
    assert isinstance(done(Request("hold", "Ann", "audit", "web"), files), Change)


def test_an_edit_that_would_break_the_policies_is_refused() -> None:
    with pytest.raises(ActionError) as raised:
        done(Request("hold", "Ann", "", "web"), {FILE: PLAIN})
    assert raised.value.reason.code == "action/breaks"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("version: 1\nworkloads:\n  web: {image: ghcr.io/acme/web, semver: 1.x}\n", "edit/flow"),
        (PLAIN.replace("web:\n", "web: &w\n"), "edit/shared"),
        (PLAIN + '    description: "{{ x }}"\n', "edit/templated"),
    ],
)
def test_what_cannot_be_edited_exactly_is_told_with_the_line_to_write(text: str, code: str) -> None:
    with pytest.raises(ManifestError) as raised:
        asked("hold", text, why="audit")
    assert raised.value.reason.code == code
    assert "hold: {reason: audit}" in raised.value.reason.next_step


# -- messages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "version", "subject"),
    [
        ("hold", None, "Hold web"),
        ("resume", None, "Resume web"),
        ("reject", "1.4.3", "Reject web 1.4.3"),
        ("accept", "1.4.3", "Accept web 1.4.3"),
    ],
)
def test_the_message_says_who_and_why(kind: str, version: str | None, subject: str) -> None:
    text = PLAIN + ("    hold: {reason: x}\n" if kind == "resume" else "")
    change = asked(kind, text, version=version, why="see #12 @ann")
    told = parse_record(change)
    assert (told.kind, told.actor, told.reason) == (kind, "Ann", "see #12 @ann")
    assert (told.members[0].image, told.members[0].policy) == ("ghcr.io/acme/web", FILE)
    assert isinstance(change, Change)
    head, _, body = change.draft(None).message.partition("\n\n")
    assert head == subject
    assert " -> " not in body, "nothing moved"


@given(st.text())
def test_an_actor_is_one_line_whatever_it_was(name: str) -> None:
    clean = actor_name(name)
    assert clean
    assert clean.isprintable()
    assert len(clean) <= 100


# -- versions -----------------------------------------------------------------------------------------


def test_each_site_claims_the_version_that_it_left() -> None:
    web = workload("semver: 1.x")
    at = sites("1.4.3", "1.4.2", "1.4.3")
    texts = {site.file: f"image: ghcr.io/acme/web:{site.tag}\n" for site in at}
    move = Move(web, "1.4.1", Image(digest("1.4.1")), at)
    change = move_versions(Request("rollback", "Ann", "slow", "web"), "rollback", [move], texts, "back")
    assert {edit.after for edit in change.edits} == {"image: ghcr.io/acme/web:1.4.1\n"}
    told = parse_record(change)
    assert [(m.before, len(m.sites)) for m in told.members] == [("1.4.3", 2), ("1.4.2", 1)]
    assert {m.after for m in told.members} == {f"1.4.1@{digest('1.4.1')}"}


def test_a_file_that_comes_or_goes_is_one_in_its_diff() -> None:
    assert FileEdit("a", None, "x\n").diff == "--- /dev/null\n+++ b/a\n@@ -0,0 +1 @@\n+x\n"
    assert FileEdit("a", "x\n", None).diff == "--- a/a\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
