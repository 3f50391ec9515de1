"""The log: one line for each thing, in words or JSON, and never a secret."""

import io
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from automator.core.report import Outcome, Report
from automator.edges.log import EventLog, configure, log_reason, log_report, mask
from automator.reasons import Status, reason

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
RELEASED = Outcome(
    "web",
    Status.RELEASED,
    reason("released/pushed", before="1.4.2", after="1.4.3", commit="abc"),
    "ghcr.io/a/web",
)
CURRENT = Outcome(
    "api", Status.CURRENT, reason("current/newest", current="2", count=9, rule="any"), "ghcr.io/a/api"
)
FAILED = Outcome(
    "job", Status.FAILED, reason("state/unusable", folder="x", problem="no space"), "ghcr.io/a/job"
)
WAITING = Outcome(
    "db", Status.WAITING, reason("waiting/limit", after="3", limit=1, changes_at=NOON), "ghcr.io/a/db"
)


@pytest.fixture(autouse=True)
def _afterwards() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def report(*outcomes: Outcome, **more: Any) -> Report:
    end = NOON + timedelta(seconds=1.2)
    return replace(Report("shop", "interval", NOON, end, "abc", None, outcomes), **more)


def lines(level: str = "info") -> tuple[io.StringIO, Any]:
    stream = io.StringIO()
    configure("json", level, stream)
    return stream, lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_cycle_is_one_sentence_and_a_line_for_each_outcome_with_news() -> None:
    _, logged = lines()
    log_report(report(RELEASED, CURRENT, FAILED, WAITING))
    assert [(line["level"], line["event"]) for line in logged()] == [
        ("info", "web released: 1.4.2 -> 1.4.3 in abc"),
        ("error", "job failed: the state folder x cannot be used: no space"),
        ("info", "db waiting: 3 waits: 1 releases are made in one cycle (max_releases_per_cycle)"),
        ("info", "cycle shop: 1 released, 1 current, 1 waiting, 1 failed in 1.2 s"),
    ]
    assert logged()[1]["code"] == "state/unusable"
    assert logged()[1]["next_step"].startswith("make the folder writable")
    assert logged()[2]["changes_at"] == "2026-11-20T12:00:00+00:00"


def test_what_is_as_it_was_is_quiet_but_for_the_sentence() -> None:
    before = report(FAILED, CURRENT, WAITING)
    _, logged = lines()
    log_report(report(FAILED, CURRENT, WAITING), before)
    assert [line["event"] for line in logged()] == ["cycle shop: 1 current, 1 waiting, 1 failed in 1.2 s"]
    _, logged = lines("debug")
    log_report(report(FAILED, CURRENT, WAITING), before)
    assert [line["level"] for line in logged()] == ["debug", "debug", "debug", "info"]


def test_a_workload_that_recovered_is_news() -> None:
    _, logged = lines()
    log_report(report(replace(CURRENT, workload="job")), report(FAILED))
    assert logged()[0]["event"].startswith("job current: 2 is the newest that ")


def test_a_cycle_that_could_not_be_done_is_an_error_with_its_next_step() -> None:
    _, logged = lines()
    log_report(report(error=FAILED.reason, warnings=(FAILED.reason,)))
    assert [line["level"] for line in logged()] == ["warning", "error", "error"]
    assert logged()[-1]["event"] == (
        "cycle shop: not done after 1.2 s: the state folder x cannot be used: no space"
    )


def test_a_bug_comes_with_its_traceback() -> None:
    _, logged = lines()
    try:
        raise ZeroDivisionError("oh")
    except ZeroDivisionError as error:
        log_reason(reason("daemon/bug", repo="shop", error="ZeroDivisionError: oh"), error)
    (line,) = logged()
    assert line["level"] == "error"
    assert "Traceback" in line["exception"]


def test_people_get_words_and_programs_get_json() -> None:
    stream = io.StringIO()
    configure("console", "info", stream)
    log_report(report(RELEASED))
    first = stream.getvalue().splitlines()[0]
    assert "web released: 1.4.2 -> 1.4.3 in abc" in first
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z ", first)
    assert "\x1b" not in first
    stream = io.StringIO()
    configure("auto", "info", stream)  # no terminal
    log_report(report(RELEASED))
    assert json.loads(stream.getvalue().splitlines()[0])["workload"] == "web"


@pytest.mark.parametrize("format", ["json", "console"])
def test_no_secret_reaches_the_log(format: str) -> None:
    stream = io.StringIO()
    configure(format, "debug", stream)
    log = structlog.get_logger()
    log.info("asked https://me:hunter2@git.example.com/x and https://hunter2@ghcr.io")
    log.info("sent", headers={"Authorization": "Basic hunter2", "nested": [{"X-Api-Key": "hunter2"}]})
    log.info(
        "headers {'Authorization': 'Basic hunter2hunter2=='}", password="hunter2", registry_token="hunter2"
    )
    log.info("bearer", words="WWW-Authenticate: Bearer hunter2hunter2hunter2hunter2")
    log.info("object", error=ValueError("https://me:hunter2@x/"), args=("Authorization: Bearer hunter2",))
    try:
        raise ValueError("https://me:hunter2@x/")
    except ValueError:
        log.exception("failed")
    logging.getLogger("urllib3").warning("retry https://me:hunter2@x/")
    assert "hunter2" not in stream.getvalue()
    log.info("read", password_file="/run/secrets/token")
    assert "/run/secrets/token" in stream.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "GET https://x/hooks/hub?a=1&secret=hunter2&b=2 failed",
            "GET https://x/hooks/hub?a=1&secret=***&b=2 failed",
        ),
        ("https://s3/b?X-Amz-Signature=hunter2&x=1", "https://s3/b?X-Amz-Signature=***&x=1"),
        ("https://b/x?sv=1&sig=hunter2%3D: 403", "https://b/x?sv=1&sig=*** 403"),
        ("https://r/token?access_token=hunter2", "https://r/token?access_token=***"),
        ("https://me:hun/ter2?hunter2@x/a failed", "https://***@x/a failed"),
        ("ssh://me:hunter2@hun/ter2@x:22/a", "ssh://***@x:22/a"),
        ("to=https%3A%2F%2Fx%3Ftoken%3Dhunter2", "to=https%3A%2F%2Fx%3Ftoken%3D***"),
        ('client_secret="hunter2 and more" left', "client_secret=*** left"),
        ("X-Gitlab-Token: hunter2 hunter2", "X-Gitlab-Token: ***"),
        ("x-webhook-secret: hunter2", "x-webhook-secret: ***"),
        ("Private-Token: hunter2", "Private-Token: ***"),
        ("X-Hub-Signature-256: sha256=hunter2", "X-Hub-Signature-256: ***"),
        ("Set-Cookie: a=hunter2; Path=/", "Set-Cookie: ***"),
        ("{'X-Gitlab-Token': 'hunter2', 'Accept': '*/*'}", "{'X-Gitlab-Token': '***', 'Accept': '*/*'}"),
        ('Authorization: Digest username="hunter2", response="hunter2"', "Authorization: ***"),
        ("Authorization: AWS4-HMAC-SHA256 Credential=hunter2, Signature=hunter2", "Authorization: ***"),
        ("Proxy-Authorization: token hunter2", "Proxy-Authorization: ***"),
        ("('Authorization', b'token hunter2') sent", "('Authorization', b'***') sent"),
        ('curl -H "Authorization: my hunter2" https://x/', 'curl -H "Authorization: ***" https://x/'),
        ("Authorization: hunter2\nAccept: x", "Authorization: ***\nAccept: x"),
        (
            '{"auth": "hunter2", "identitytoken": "hunter2", "email": ""}',
            '{"auth": "***", "identitytoken": "***", "email": ""}',
        ),
    ],
)
def test_what_looks_secret_is_masked_in_any_text(text: str, shown: str) -> None:
    assert mask(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "Authorization header missing",
        "the secret shop/pull-secret: not found",
        "cannot read the token: no such file",
        'config=/etc/automator design=x token_file=/run/secrets/token secret_file = "/run/x"',
        'WWW-Authenticate: Bearer realm="https://x/token",service="registry"',
        "https://r/token?service=x&scope=repository:acme/web:pull",
    ],
)
def test_words_about_secrets_stay_readable(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize(
    "piece", ["a-", "x-", "authorization:", '"', '\\"', "https://", '"token": "', "secret="]
)
def test_masking_takes_no_longer_than_the_text_is_long(piece: str) -> None:
    assert len(mask(piece * 30_000)) <= len(piece) * 60_000  # ends, rather than hanging until the time-out


@pytest.mark.parametrize("format", ["json", "console"])
def test_untrusted_text_stays_on_one_line(format: str) -> None:
    stream = io.StringIO()
    configure(format, "info", stream)
    structlog.get_logger().info("said\n2026 error forged\x1b[31m", words="a\nb\x07", deep=["c\nd"])
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b[31m" not in stream.getvalue()


def test_libraries_are_heard_from_warnings_upwards() -> None:
    _, logged = lines()
    logging.getLogger("git.cmd").info("chatter")
    logging.getLogger("git.cmd").warning("trouble with %s", "x")
    (line,) = logged()
    assert (line["event"], line["level"], line["logger"]) == ("trouble with x", "warning", "git.cmd")


def test_less_than_the_level_is_not_written() -> None:
    stream, _ = lines("error")
    log_report(report(RELEASED, CURRENT))
    assert stream.getvalue() == ""


def test_events_are_told_but_never_more_than_so_many_a_minute() -> None:
    now = [0.0]
    _, logged = lines()
    log = EventLog(lambda: now[0], lines=3)
    for _ in range(1000):
        log.tell("refused", reason("hooks/unknown"), level="warning")
    log.tell("accepted", "event of hooks.quay: pushed, for shop", hook="quay", delivery="7\n8")
    now[0] = 61.0
    log.tell("refused", reason("hooks/unknown"), level="warning")
    log.tell("refused", reason("hooks/unknown"), level="warning")
    told = logged()
    assert [line.get("code") for line in told] == ["hooks/unknown"] * 3 + [None] + ["hooks/unknown"] * 2
    assert told[0]["next_step"]
    assert (told[3]["event"], told[3]["delivery"]) == ("event of hooks.quay: pushed, for shop", "7 8")
    assert [line.get("left_out") for line in told[4:]] == ["997 lines like this", None]


def test_a_web_server_that_is_sent_junk_is_not_heard() -> None:
    _, logged = lines()
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    logging.getLogger("uvicorn.error").error("Exception in ASGI application")
    assert [line["event"] for line in logged()] == ["Exception in ASGI application"]
