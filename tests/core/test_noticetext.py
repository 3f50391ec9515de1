"""The words of messages: what people read, what programs get, and what strangers cannot put there."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automator.core.notice import About, Item, Kind
from automator.core.noticetext import (
    ITEMS_LIMIT,
    LINES,
    TEXT_LIMIT,
    TITLE_LIMIT,
    Words,
    binary,
    message,
    message_text,
    quiet,
    read_message,
    safe_link,
    structured,
    try_out,
    webhook_body,
)
from automator.errors import ConfigError

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
WEB = (About("web", "team-shop", "production"),)
LINK = "https://git.example.com/acme/shop/commit/4f1c"
MOVED = Item(
    Kind.RELEASED,
    "workload web",
    "web 4f1c",
    "1.4.2 -> 1.4.3 in 4f1c",
    about=WEB,
    before="1.4.2",
    after="1.4.3",
    link=LINK,
    actor="automator",
)
FAILED = Item(
    Kind.FAILED, "workload api", "push/refused", "the server refused 1.2.0: no", "push/refused", "mend it",
    about=(About("api"),), since=NOON, turn="begun",
)  # fmt: skip
SILENT = Item(
    Kind.SILENT, "registry ghcr.io", "late", "nobody answers", about=WEB, since=NOON - timedelta(hours=2)
)
ENDED = replace(FAILED, kind=Kind.RECOVERED, since=NOON - timedelta(hours=3), turn="")
HOSTILE = (
    "<!channel> @here [click](https://evil.example/) *bold* `x` <b>&lt; __all__ ~no~ #1 | \\ "
    "\x1b[31m\nSubject: x"
)


def lines(*items: Item) -> list[str]:
    return message("shop", items, NOON, salt="a").text.splitlines()


@pytest.mark.parametrize(
    ("item", "line"),
    [
        (MOVED, f"released: web 1.4.2 → 1.4.3 (production, team-shop) by automator: {LINK}"),
        (
            replace(MOVED, kind=Kind.ROLLED_BACK, why="smoke failed", link=None, commit="4f1c" * 10),
            "rolled back: web 1.4.2 → 1.4.3 (production, team-shop) by automator, since smoke failed: "
            "4f1c4f1c4f1c",
        ),
        (
            replace(MOVED, kind=Kind.PROPOSED, link="https://git.example.com/pull/7"),
            "waits for you: web 1.4.2 → 1.4.3 (production, team-shop) is proposed: "
            "https://git.example.com/pull/7",
        ),
        (FAILED, "failed: api: the server refused 1.2.0: no. Next: mend it."),
        (
            replace(FAILED, turn="still", since=NOON - timedelta(days=1)),
            "still fails, for 1 day: api: the server refused 1.2.0: no. Next: mend it.",
        ),
        (SILENT, "no answer for 2 hours: registry ghcr.io: nobody answers. Waiting for it: web."),
        (ENDED, "works again: api, was failing for 3 hours"),
        (replace(ENDED, turn="gone"), "is no more: api, which failed for 3 hours"),
    ],
)
def test_lines(item: Item, line: str) -> None:
    assert lines(item) == [line]


def test_a_title_says_what_there_is() -> None:
    assert message("shop", (MOVED,), NOON, salt="").title == "shop: web 1.4.3 released"
    every = (FAILED, MOVED, MOVED, SILENT, ENDED)
    title = "shop: 1 failed, 1 without an answer, 1 working again, 2 released"
    assert message("shop", every, NOON, salt="").title == title
    assert (
        message("shop", (FAILED,), NOON, salt="").title == "shop: failed: api: the server refused 1.2.0: no"
    )


def test_a_flood_is_cut_and_counted() -> None:
    made = message("shop", (FAILED,) * 500, NOON, salt="")
    assert len(made.text) <= TEXT_LIMIT
    assert made.text.splitlines()[-1] == f"… and {500 - LINES} more"
    assert made.title == "shop: 500 failed"
    many = tuple(About(f"w{n}") for n in range(10_000))
    (line,) = lines(replace(SILENT, about=many))
    assert line.endswith("Waiting for it: w0, w1, w2, w3, w4 and 9995 more.")


# -- strangers ---------------------------------------------------------------------------------------------


@given(st.text())
def test_no_text_can_make_a_mention_a_link_or_a_format(text: str) -> None:
    shown = quiet(text, 80)
    assert len(shown) <= 84
    assert not set("#@[]<>*~|\\`\n\r\x1b") & set(shown)
    assert "://" not in shown


def test_hostile_words_stand_in_no_message() -> None:
    about = (About(HOSTILE, HOSTILE, HOSTILE),)
    hostile = replace(
        FAILED, subject=f"workload {HOSTILE}", about=about, sentence=HOSTILE, next_step=HOSTILE, link=HOSTILE
    )
    moved = replace(
        MOVED, about=about, subject=f"workload {HOSTILE}", after=HOSTILE, actor=HOSTILE, link=HOSTILE
    )
    words = Words(title="{{ items[0].sentence }}", text="{{ items[1].workload }}")
    for made in (
        message("shop", (hostile, moved), NOON, salt=""),
        message("shop", (hostile, moved), NOON, salt="", words=words),
    ):
        for text in (made.title, made.text, made.markdown.replace("\n- ", "\n").removeprefix("- ")):
            assert not set("#@[]<>*~|\\`\x1b") & set(text)
            assert "://" not in text
        assert "\n" not in made.title
        assert len(made.title) <= TITLE_LIMIT
        assert "\x1b" not in webhook_body(made).decode()


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "https://x/y z",
        "https://u:p@x/y",
        "https://x/<y>",
        "https://x/)",
        "https://x",
        "https://x/\n",
    ],
)
def test_only_plain_addresses_are_linked(link: str) -> None:
    assert safe_link(link) is None


EVERY_TEXT = (
    "{% for i in items %}{{ i.sentence }}|{{ i.next_step }}|{{ i.why }}|{{ i.line }}{% endfor %}|{{ text }}"
)


@pytest.mark.parametrize("words", [None, Words(text=EVERY_TEXT), Words(title=EVERY_TEXT)])
@pytest.mark.parametrize("item", [FAILED, replace(MOVED, kind=Kind.ROLLED_BACK)])
def test_secrets_are_masked_before_anything_else_also_for_templates(item: Item, words: Words | None) -> None:
    said = "token=hunter2"
    made = message(
        "shop",
        (replace(item, sentence=said, next_step=said, why=said),),
        NOON,
        salt="",
        words=words,
        mask=lambda text: text.replace("hunter2", "masked"),
    )
    assert "hunter2" not in message_text(made)
    assert "token=masked" in made.text


# -- templates ---------------------------------------------------------------------------------------------


def test_templates_see_what_there_is() -> None:
    words = Words(
        "{{ counts.released }} in {{ repo }}",
        "{% for i in items %}{{ i.workload }}={{ i.after }};{% endfor %}",
    )
    made = message("shop", (MOVED,), NOON, salt="", words=words)
    assert (made.title, made.text) == ("1 in shop", "web=1.4.3;")


@pytest.mark.parametrize(
    "template", ["{{", "{{ nothing }}", "{{ items[0].secret }}", "{{ ''.__class__ }}", "{{ items[9] }}"]
)
def test_a_template_that_cannot_work_is_refused(template: str) -> None:
    with pytest.raises(ConfigError) as caught:
        try_out(Words(text=template))
    assert caught.value.reason.code == "notify/template"


# -- forms -------------------------------------------------------------------------------------------------


def test_the_same_news_has_the_same_id_and_other_news_another() -> None:
    def name(*items: Item, salt: str = "a", at: datetime = NOON) -> str:
        return message("shop", items, at, salt=salt).id

    assert name(MOVED) == name(MOVED, at=NOON + timedelta(hours=1))
    assert len({name(MOVED), name(MOVED, salt="b"), name(FAILED), name(MOVED, FAILED)}) == 4


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in text %}{% for b in text %}{% for c in text %}{% endfor %}{% endfor %}{% endfor %}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
        "{{ 'x' * 999999999 }}",
        "{{ 9 ** 9 ** 9 }}",
    ],
)
def test_a_template_without_end_is_refused_soon(template: str) -> None:
    with pytest.raises(ConfigError) as caught:
        try_out(Words(text=template))
    assert caught.value.reason.code == "notify/template"


def test_loops_work_as_ever() -> None:
    words = Words(
        text="{% for i in items if i.kind %}{{ loop.index }}/{{ loop.length }} {{ i.kind }}"
        "{% if not loop.last %}, {% endif %}{% else %}none{% endfor %}; {{ counts['rolled-back'] }}"
    )
    assert message("shop", (MOVED, FAILED), NOON, salt="a", words=words).text == "1/2 released, 2/2 failed; 0"


def test_the_templates_of_the_documentation_work() -> None:
    page = (Path(__file__).parents[2] / "docs/notifications.md").read_text()
    tables = [tomllib.loads(part.partition("```")[0]) for part in page.split("```toml\n")[1:]]
    told = [one for table in tables for one in table.get("notify", {}).values()]
    words = [Words(one.get("title"), one.get("text")) for one in told if {"title", "text"} & one.keys()]
    assert words
    for each in words:
        try_out(each)
        made = message("shop", (FAILED, replace(FAILED, subject="workload x")), NOON, salt="a", words=each)
        assert made.title == "2 failed in shop"
        assert message("shop", (MOVED,), NOON, salt="a", words=each).title == "0 failed in shop"


def test_what_programs_get_is_bounded_and_counted() -> None:
    many = tuple(replace(FAILED, subject=f"workload w{n}", sentence="x" * 390) for n in range(10_000))
    made = message("shop", many, NOON, salt="a")
    body = webhook_body(made)
    assert len(body) < ITEMS_LIMIT + 20_000
    told = json.loads(body)
    assert len(told["items"]) > 100
    assert told["more"] == 10_000 - len(told["items"])


def test_what_is_kept_comes_back() -> None:
    made = message("shop", (MOVED, FAILED), NOON, salt="a")
    assert read_message(message_text(made)) == made


def test_the_webhook_has_everything_as_values() -> None:
    body = json.loads(webhook_body(message("shop", (MOVED,), NOON, salt="a")))
    assert (body["version"], body["at"], body["repo"]) == (1, "2026-11-20T12:00:00Z", "shop")
    (item,) = body["items"]
    told = {"kind": "released", "workload": "web", "owner": "team-shop", "before": "1.4.2", "link": LINK}
    assert told.items() <= item.items()


def test_cloudevents_in_both_modes_say_the_same() -> None:
    made = message("shop", (replace(MOVED, subject='workload wéb %"'),), NOON, salt="a")
    event = json.loads(structured(made, "urn:automator"))
    assert (event["specversion"], event["type"], event["source"]) == (
        "1.0",
        "automator.released",
        "urn:automator/shop",
    )
    assert (event["id"], event["time"]) == (made.id, "2026-11-20T12:00:00Z")
    headers, body = binary(made, "urn:automator")
    assert json.loads(body) == event["data"]
    assert headers["ce-subject"] == "workload%20w%C3%A9b%20%25%22"
    assert headers["Content-Type"] == event["datacontenttype"] == "application/json"
    assert {name.removeprefix("ce-") for name in headers} == (event.keys() - {"data", "datacontenttype"}) | {
        "Content-Type"
    }
