"""What a release commit says, and what is read back from messages that were mangled on the way."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from types import FrameType

import pytest

from automator.core.record import newer_format, trailers
from automator.core.release import (
    Member,
    ReleaseRecord,
    Templates,
    compose,
    compose_or_default,
    harmless,
    parse,
    parse_all,
    source_link,
)
from automator.errors import ConfigError

DIGEST = "sha256:" + "0123456789abcdef" * 4
SITE = "apps/shop/web.yaml#spec.template.spec.containers[app].image"
WEB = Member(
    "web",
    "ghcr.io/acme/web",
    "1.4.2",
    f"1.4.3@{DIGEST}",
    (SITE,),
    datetime(2026, 11, 20, 9, 14, 2, tzinfo=UTC),
    "https://github.com/acme/web/tree/4b1c0de",
    "policies/shop.yaml",
    datetime(2026, 11, 20, 8, 50, tzinfo=UTC),
)
RECORD = ReleaseRecord("release", (WEB,))
WHY = 'newest in semver ">=1.4 <2" of 37 tags, seen 31 minutes ago'

MESSAGE = f"""\
Release web 1.4.3

ghcr.io/acme/web 1.4.2 -> 1.4.3
{WHY}

Release-Format: 1
Release-Kind: release
Release-Workload: web
Release-Image: ghcr.io/acme/web
Release-From: 1.4.2
Release-To: 1.4.3@{DIGEST}
Release-Site: {SITE}
Release-Built: 2026-11-20T09:14:02Z
Release-Source: https://github.com/acme/web/tree/4b1c0de
Release-Source-Time: 2026-11-20T08:50:00Z
Release-Policy: policies/shop.yaml
"""


def subject(record: ReleaseRecord) -> str:
    return compose(record, why=WHY).partition("\n")[0]


def body(record: ReleaseRecord, why: str = WHY, templates: Templates | None = None) -> str:
    return compose(record, why=why, templates=templates).split("\n\nRelease-Format")[0].partition("\n\n")[2]


def test_a_release_reads_like_this() -> None:
    assert compose(RECORD, why=WHY) == MESSAGE


def test_a_group_has_a_block_for_each_member() -> None:
    api = replace(WEB, workload="api", image="ghcr.io/acme/api", sites=("a.yaml#x", "b.yaml#x"), source=None)
    record = ReleaseRecord("release", (WEB, api), refs=("#12", "ABC-7"), actor="Ann", reason="for #12")
    message = compose(record, why=WHY)
    assert message.startswith("Release web, api 1.4.3\n")
    assert "ghcr.io/acme/api 1.4.2 -> 1.4.3\n" in message
    assert "\nRelease-Refs: #12, ABC-7\n" in message
    assert "\nRelease-Reason: for #12\n" in message
    assert parse(message) == record


LONG = "a-workload-with-a-name-that-goes-on-and-on-and-on-and-on-until-it-ends"
SUBJECTS = {
    "release": (RECORD, "Release web 1.4.3"),
    "rollback": (ReleaseRecord("rollback", (replace(WEB, after="1.4.2"),)), "Roll back web to 1.4.2"),
    "promote": (ReleaseRecord("promote", (WEB,)), "Promote web 1.4.3"),
    "reject": (ReleaseRecord("reject", (Member("web", after="1.4.3"),)), "Reject web 1.4.3"),
    "hold": (ReleaseRecord("hold", (Member("web"),)), "Hold web"),
    "resume": (ReleaseRecord("resume", (Member("web"),)), "Resume web"),
    "freeze": (ReleaseRecord("freeze"), "Freeze releases"),
    "thaw": (ReleaseRecord("thaw"), "Thaw releases"),
    "followed tag": (
        ReleaseRecord("release", (Member("cache", "redis", f"7@{DIGEST[:-1]}0", f"7@{DIGEST}"),)),
        "Release cache 7 (sha256:0123456789ab)",
    ),
    "digest alone": (
        ReleaseRecord("release", (Member("cache", "redis", f"@{DIGEST[:-1]}0", f"@{DIGEST}"),)),
        "Release cache sha256:0123456789ab",
    ),
    "members at different versions": (
        ReleaseRecord("release", (WEB, Member("api", "a", "2.0", "2.1"))),
        "Release web 1.4.3, api 2.1",
    ),
    "a large group": (
        ReleaseRecord("release", tuple(replace(WEB, workload=f"service-{i}") for i in range(20))),
        "Release 20 workloads 1.4.3",
    ),
    "a long name": (
        ReleaseRecord("release", (replace(WEB, workload=LONG, after="2026.11.20-4b1c0de"),)),
        "Release a-workload-with-a-name-that-goes-on-and-on-a… 2026.11.20-4b1c0de",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("record", "expected"), SUBJECTS.values(), ids=SUBJECTS)
def test_subject(record: ReleaseRecord, expected: str) -> None:
    assert subject(record) == expected
    assert len(expected) <= 72


def test_a_new_digest_of_the_same_tag_is_shown() -> None:
    followed = Member("cache", "redis", f"7@sha256:{'0' * 64}", f"7@{DIGEST}")
    assert body(ReleaseRecord("release", (followed,)), why="followed") == (
        "redis 7 (sha256:000000000000) -> 7 (sha256:0123456789ab)\nfollowed"
    )


def test_a_version_is_never_cut() -> None:
    tag = "v1." + "0" * 125
    assert tag in subject(ReleaseRecord("release", (replace(WEB, after=tag),)))


# -- strangers' text -----------------------------------------------------------------------------------


def test_untrusted_text_names_no_issue_no_person_and_no_command() -> None:
    evil = "fixes #12 @everyone [skip ci]\x1b[2J\nRelease-Kind: rollback"
    member = Member(evil, evil, evil, evil, (evil,), source=evil, policy=evil)
    message = compose(ReleaseRecord("release", (member,)), why=evil)
    assert "\x1b" not in message
    assert not any(command in message for command in ("#12", "@everyone", "[skip"))
    assert parse_all(message) == (ReleaseRecord("release", (replace(member, source=None),)),)


@pytest.mark.parametrize("field", ["containers[skip ci].image", "x[ci-skip]", "x[no ci].image", "12"])
def test_a_field_is_no_command_to_a_build_server(field: str) -> None:
    label = f"apps/web.yaml#{field}"
    message = compose(ReleaseRecord("release", (replace(WEB, sites=(label,)),)), why=WHY)
    assert "[skip" not in message
    assert f"#{field}" not in message
    assert parse(message) == ReleaseRecord("release", (replace(WEB, sites=(label,)),))


def test_a_digest_alone_is_no_mention() -> None:
    record = ReleaseRecord("release", (Member("cache", "redis", f"@{DIGEST}", f"7@{DIGEST}"),))
    message = compose(record, why="")
    assert f"Release-From: {DIGEST}\n" in message
    assert parse(message) == record


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see #1, @ann, [x](y)", "see ＃1, ＠ann, ［x](y)"),  # noqa: RUF001
        ("two\nlines\tand\x00nul", "two lines and nul"),
        ("x" * 300, "x" * 199 + "…"),
    ],
)
def test_harmless(text: str, expected: str) -> None:
    assert harmless(text) == expected


@pytest.mark.parametrize(
    ("source", "revision", "expected"),
    [
        ("https://github.com/acme/web", "4b1c0de", "https://github.com/acme/web/tree/4b1c0de"),
        ("https://GitHub.com/acme/web.git", "4b1c0de", "https://github.com/acme/web/tree/4b1c0de"),
        ("https://github.com/acme/web/", None, "https://github.com/acme/web"),
        ("https://github.com/acme/web", "main", "https://github.com/acme/web"),
        ("https://github.com/acme/web/tree/aaaaaaa", "4b1c0de", "https://github.com/acme/web/tree/aaaaaaa"),
        ("https://git.acme.test:8443/web?x=1#12", None, "https://git.acme.test:8443/web"),
        ("https://github.com/@acme/[skip ci]", None, "https://github.com/%40acme/%5Bskip%20ci%5D"),
        ("https://user:secret@github.com/acme/web", "4b1c0de", None),
        ("http://github.com/acme/web", "4b1c0de", None),
        ("git@github.com:acme/web.git", "4b1c0de", None),
        ("javascript:alert(1)", None, None),
        ("https://[::1", None, None),
        ("https://github.com/" + "a" * 400, None, None),
        ("https://github.com/\ud800", None, None),
        (None, "4b1c0de", None),
        ("", None, None),
    ],
)
def test_source_link(source: str | None, revision: str | None, expected: str | None) -> None:
    assert source_link(source, revision) == expected


# -- templates -------------------------------------------------------------------------------------------


def test_templates_from_the_config() -> None:
    templates = Templates(
        subject="chore(deps): {{ subject | lower }}",
        body="{% for m in members %}{{ m.workload }} from {{ m.before }}{% endfor %}\n\n{{ why }}",
    )
    message = compose(RECORD, why=WHY, templates=templates)
    assert message.startswith(f"chore(deps): release web 1.4.3\n\nweb from 1.4.2\n\n{WHY}\n\nRelease-Format")
    assert parse(message) == RECORD


@pytest.mark.parametrize(
    "template",
    [
        "Release-Kind: rollback",
        "Hello\n\nRelease-Format: 1\nRelease-Kind: rollback\nRelease-Workload: api",
        "  * release-format: 1\r\n> Release-Kind: rollback",
        "Release-Format: 1 Release-Kind: hold Release-Workload: api",
        "Release-Site:",
        "Release-Reason: no\nend",
        "\x1b[31mRelease-Format: 1\u2028Release-Kind: hold",
        "Release-{{ 'Format' }}: 1",
    ],
)
def test_a_template_can_neither_forge_nor_break_trailers(template: str) -> None:
    for templates in (Templates(subject=template), Templates(body=template)):
        message = compose(RECORD, why=WHY, templates=templates)
        assert parse_all(message) == (RECORD,)
        assert all(c == "\n" or c.isprintable() for c in message)


def test_an_empty_body_leaves_subject_and_trailers() -> None:
    message = compose(RECORD, why=WHY, templates=Templates(body="{# nothing #}"))
    assert message.startswith("Release web 1.4.3\n\nRelease-Format: 1\n")


def test_what_a_template_writes_is_bounded() -> None:
    endless = Templates(body="{% for i in range(99999) %}line {{ i }}\n{% endfor %}")
    text = body(RECORD, templates=endless)
    assert len(text) < 8_100
    assert text.endswith("\n…")
    assert parse(compose(RECORD, why=WHY, templates=endless)) == RECORD


@pytest.mark.parametrize(
    "template",
    [
        "{{ nothing_of_that_name }}",
        "{{ 1 / 0 }}",
        "{{ members[7].image }}",
        "{% for %}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ workload.nothing.at.all }}",
        "{{ members + 1 }}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{% include 'other' %}",
    ],
)
def test_a_template_that_fails_costs_the_wording_not_the_release(template: str) -> None:
    for templates in (Templates(subject=template), Templates(body=template)):
        with pytest.raises(ConfigError) as caught:
            compose(RECORD, why=WHY, templates=templates)
        assert caught.value.reason.code == "release/template"
        message, trouble = compose_or_default(RECORD, why=WHY, templates=templates)
        assert message == MESSAGE
        assert trouble == caught.value.reason


@pytest.mark.parametrize("template", ["", " \n", "{{ why * 9 }}"])
def test_a_subject_is_not_empty_and_never_cut(template: str) -> None:
    message, trouble = compose_or_default(RECORD, why=WHY, templates=Templates(subject=template))
    assert message == MESSAGE
    assert trouble is not None


def test_templates_that_work_are_no_trouble() -> None:
    assert compose_or_default(RECORD, why=WHY) == (MESSAGE, None)


# -- reading -----------------------------------------------------------------------------------------------


def wrapped(message: str) -> str:
    """As a tool does that breaks lines of more than 72 characters at spaces."""
    lines = []
    for line in message.splitlines():
        while len(line) > 72 and " " in line[:73]:
            head, _, tail = line[:73].rpartition(" ")
            lines.append(head)
            line = tail + line[73:]
        lines.append(line)
    return "\n".join(lines)


REASONED = replace(
    RECORD, reason="the new checkout loses carts when a customer pays with a voucher, see ABC-123"
)
LINES = trailers(REASONED).splitlines()
MANGLED = {
    "as it is": "\n".join(LINES),
    "Windows line ends": "\r\n".join(LINES),
    "old Mac line ends": "\r".join(LINES),
    "one bullet": "Merge pull request (#7)\n\n* Release web\n\n" + "\n".join(LINES) + "\n\n* other",
    "a bullet for each line": "\n".join(f"* {line}" for line in LINES),
    "indented": "\n".join(f"        {line}" for line in LINES),
    "quoted": "\n".join(f"> {line}" for line in LINES),
    "blank lines between": "\n\n".join(LINES),
    "joined on one line": " ".join(LINES),
    "trailing spaces": "\n".join(f"{line}   " for line in LINES),
    "wrapped": wrapped("\n".join(LINES)),
    "wrapped and indented": "\n".join(f"    {line}" for line in wrapped("\n".join(LINES)).splitlines()),
    "signed off": "\n".join(LINES) + "\nSigned-off-by: Ann <ann@example.com>",
    "cherry-picked": "\n".join(LINES) + "\n(cherry picked from commit 4b1c0de)",
    "lower case names": "\n".join(line.replace("Release-", "release-", 1) for line in LINES),
    "prose around": "I think Release-Kind: hold would be wrong.\n" + "\n".join(LINES) + "\n\nEnd.",
}


@pytest.mark.parametrize("message", MANGLED.values(), ids=MANGLED)
def test_records_survive_what_forges_do_to_messages(message: str) -> None:
    assert parse_all(message) == (REASONED,)


def test_a_path_with_spaces_survives_wrapping() -> None:
    path = "apps/a folder with [skip] and spaces/and a very long name that no line can hold/web.yaml"
    record = replace(RECORD, members=(replace(WEB, sites=(f"{path}#image",)),))
    message = compose(record, why=WHY)
    assert f"Release-Site: {path}" not in message
    assert wrapped(message) != message
    assert parse(wrapped(message)) == record


def test_a_squash_of_several_releases_gives_several_records() -> None:
    other = ReleaseRecord("rollback", (Member("api", "ghcr.io/acme/api", "2.0", "1.9"),), actor="Ann")
    message = f"Squash\n\n* {compose(RECORD, why=WHY)}\n* {compose(other, why='asked for')}"
    assert parse_all(message) == (RECORD, other)
    assert parse(message) == other


@pytest.mark.parametrize(
    "message",
    [
        "",
        "Release web 1.4.3",
        MESSAGE.replace("Format: 1", "Format: 2"),
        MESSAGE.replace("Kind: release", "Kind: sail"),
        MESSAGE.replace("Release-Kind: release\n", ""),
        MESSAGE.replace("Release-Format: 1\n", ""),
        'This reverts commit 4b1c0de ("Release-Format: 1").',
    ],
)
def test_what_is_not_understood_is_no_record(message: str) -> None:
    assert parse(message) is None
    assert parse_all(message) == ()


def test_unknown_trailers_are_kept() -> None:
    message = MESSAGE + "Release-Weather: fair\nRelease-Tide: high\n"
    record = parse(message)
    assert record == replace(RECORD, unknown=(("Release-Weather", "fair"), ("Release-Tide", "high")))
    assert record is not None
    assert parse(compose(record, why=WHY)) == record


def test_what_comes_twice_counts_the_first_time() -> None:
    doubled = MESSAGE.replace("Release-To:", "Release-To: 1.4.3\nRelease-To:")
    record = parse(doubled)
    assert record is not None
    assert record.members[0].after == "1.4.3"


@pytest.mark.parametrize("text", ["yesterday", "0001-01-01T00:00:00+23:00", "2026-13-01"])
def test_a_time_that_is_none_costs_the_time_alone(text: str) -> None:
    record = parse(MESSAGE.replace("2026-11-20T09:14:02Z", text))
    assert record == replace(RECORD, members=(replace(WEB, built=None),))


def test_a_long_hostile_message_is_read_in_no_time() -> None:
    for piece in (" ", "* ", "Release-", "Release-A: ", '"', "release-a", "\n"):
        assert parse_all("Release-Format: 1 " + piece * 100_000) == ()


def test_a_kind_that_nobody_could_read_back_is_refused() -> None:
    with pytest.raises(ValueError, match="sail"):
        trailers(ReleaseRecord("sail"))


# -- messages made to be slow ----------------------------------------------------------------------------


def characters_handled(message: str) -> int:
    """Characters of text that are handed to functions while a message is read."""
    handled = 0

    def look(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal handled
        if event == "call":
            handled += sum(len(value) for value in frame.f_locals.values() if isinstance(value, str))

    sys.setprofile(look)
    try:
        parse_all(message)
    finally:
        sys.setprofile(None)
    return handled


@pytest.mark.parametrize("begin", ['"', "x", '"never closed" by this', '"\\'])
@pytest.mark.parametrize("line", ["aaaaaaaa", 'a"', '\\"', '\\\\"'])
def test_a_line_costs_the_same_however_many_came_before_it(begin: str, line: str) -> None:
    short, long = (
        characters_handled(f"Release-Format: 1\nRelease-Reason: {begin}\n" + f"{line}\n" * count)
        for count in (300, 3_000)
    )
    assert long < 12 * short


def test_a_value_is_read_up_to_a_bound_and_the_rest_of_the_record_all_the_same() -> None:
    record = ReleaseRecord(
        "release", (Member("web", "ghcr.io/acme/web", "1", "2"),), reason="why " * 5_000 + "not"
    )
    found = parse(trailers(record))
    assert found is not None
    assert found.members == record.members
    assert found.reason == (record.reason or "")[: len(found.reason or "")]
    assert 4_000 < len(found.reason or "") < 5_000


def test_the_largest_group_reads_back_whole() -> None:
    members = tuple(
        Member(f"workload-{i}", f"registry.example/team/workload-{i}", "1.0.0", f"1.0.1@sha256:{i:064}")
        for i in range(1_000)
    )
    assert parse(trailers(ReleaseRecord("release", members))) == ReleaseRecord("release", members)


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (MESSAGE, None),
        (MESSAGE.replace("Format: 1", "Format: 2"), 2),
        (MESSAGE + "\n\n* " + MESSAGE.replace("Format: 1", "Format: 12"), 12),
        (MESSAGE.replace("Format: 1", "Format: 0"), None),
        (MESSAGE.replace("Format: 1", "Format: two"), None),
        (MESSAGE.replace("Format: 1", "Format: " + "9" * 5000), None),
    ],
)
def test_a_format_of_a_newer_automator_is_known_as_one(message: str, found: int | None) -> None:
    assert newer_format(message) == found
