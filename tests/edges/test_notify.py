"""Sending: what goes over the wire, how it is signed, and what an answer means for another try."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from parts.canaries import secret
from parts.certificates import make_ca
from parts.receivers import SECRET, Inbox, Mailbox, body_of, free_port, inbox, is_signed, mailbox
from parts.registry import HostileServer, Reply, always

from automator.core.notice import About, Item, Kind
from automator.core.noticetext import Message, message, message_text
from automator.edges.notify import ChatReceiver, Result, WebhookReceiver
from automator.edges.notify.chats import masked, shortened
from automator.edges.notify.webhook import Form, judged, signed

# Some plugin of apprise imports it, where Python still has it.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SECONDS = 20.0


def told(words: str = "the server refused 1.4.3: no", after: str = "1.4.3") -> Message:
    about = (About("web", "team-shop", "production"),)
    failed = Item(Kind.FAILED, "workload web", "key", words, "push/refused", "mend it", about, after=after)
    return message("shop", (failed,), NOON, salt="here")


@pytest.fixture
def mail() -> Iterator[Mailbox]:
    with mailbox() as made:
        yield made


@pytest.fixture
def hook() -> Iterator[Inbox]:
    with inbox() as made:
        yield made


def chat(folder: Path, url: str, seconds: float = SECONDS) -> ChatReceiver:
    (folder / "chat-token").write_text(url + "\n")
    return ChatReceiver(str(folder / "chat-token"), seconds)


def mailed(folder: Path, url: str, message: Message) -> str:
    """What a process of its own says after sending a mail: smtplib looks up this machine's own name, which
    the network of the tests does not let it do in here."""
    chat(folder, url)
    code = (
        "import sys\n"
        "from automator.core.noticetext import read_message\n"
        "from automator.edges.notify import ChatReceiver\n"
        "answer = ChatReceiver(sys.argv[1], 20).send(read_message(sys.stdin.read()))\n"
        "print(answer.result.value, answer.words)\n"
    )
    command = [sys.executable, "-c", code, str(folder / "chat-token")]
    done = subprocess.run(
        command, input=message_text(message), capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return done.stdout.strip()


def webhook(folder: Path, url: str, form: Form = "json", secrets: str = SECRET) -> WebhookReceiver:
    (folder / "hook-token").write_text(secrets)
    return WebhookReceiver(url, SECONDS, form, str(folder / "hook-token"))


# -- our own webhook -----------------------------------------------------------------------------------


def test_a_signature_is_what_the_standard_says() -> None:
    """The example of the Standard Webhooks specification, section "Signature scheme"."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed((key,), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_secret_of_the_file_signs(tmp_path: Path, hook: Inbox) -> None:
    old, new = secret("old"), secret("new")
    coded = "whsec_" + base64.b64encode(new.encode()).decode()
    hook.server.behave = always(Reply(200))
    assert webhook(tmp_path, hook.url, secrets=f"{old}\n{coded}\n").send(told()).result is Result.SENT
    (received,) = hook.server.received
    assert is_signed(received, old.encode())
    assert is_signed(received, new.encode())
    assert not is_signed(received, b"another")


def test_a_second_try_has_the_same_id(tmp_path: Path, hook: Inbox) -> None:
    hook.replies = [Reply(503)]
    receiver = webhook(tmp_path, hook.url)
    assert [receiver.send(told()).result for _ in range(2)] == [Result.LATER, Result.SENT]
    first, second = hook.server.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == hook.ids[0]


@pytest.mark.parametrize(
    ("status", "retry_after", "result", "wait"),
    [
        (200, "", Result.SENT, None),
        (204, "", Result.SENT, None),
        (301, "", Result.NEVER, None),
        (400, "", Result.NEVER, None),
        (401, "", Result.NEVER, None),
        (404, "", Result.NEVER, None),
        (410, "", Result.NEVER, None),
        (408, "", Result.LATER, None),
        (429, "120", Result.LATER, 120.0),
        (429, "9999999", Result.LATER, 3600.0),
        (429, "Fri, 20 Nov 2026 12:01:30 GMT", Result.LATER, 90.0),
        (429, "Fri, 20 Nov 2026 11:00:00 GMT", Result.LATER, 0.0),
        (503, "soon", Result.LATER, None),
        (503, "Fri, 31 Dec 9999 23:59:59 -9959", Result.LATER, None),
        (503, "Mon, 01 Jan 0001 00:00:00 +9959", Result.LATER, None),
        (503, "Mon, 01 Jan 2024 00:00:00 +99999999999999999999", Result.LATER, None),
        (500, "-5", Result.LATER, None),
    ],
)
def test_what_an_answer_means(status: int, retry_after: str, result: Result, wait: float | None) -> None:
    answer = judged(status, retry_after, NOON.timestamp())
    assert (answer.result, answer.wait) == (result, wait)


def test_a_redirect_is_not_followed(tmp_path: Path, hook: Inbox) -> None:
    with HostileServer(always(Reply(200))) as elsewhere:
        hook.replies = [Reply(307, headers={"Location": f"http://{elsewhere.host}/"})]
        answer = webhook(tmp_path, hook.url).send(told())
        assert (answer.result, elsewhere.received) == (Result.NEVER, [])


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, drip=0.05),
        Reply(200, b"x" * 70_000),
        Reply(200, b"brotli", {"Content-Encoding": "br"}),
        Reply(200, b"short", {"Transfer-Encoding": "chunked"}),
    ],
)
def test_what_was_taken_is_taken_whatever_follows_the_status(tmp_path: Path, reply: Reply) -> None:
    with HostileServer(always(reply)) as odd:
        (tmp_path / "hook-token").write_text(SECRET)
        receiver = WebhookReceiver(f"http://{odd.host}/", 2.0, "json", str(tmp_path / "hook-token"))
        assert receiver.send(told()).result is Result.SENT


def test_a_receiver_that_gives_no_status_in_time_is_asked_later(tmp_path: Path) -> None:
    with HostileServer(always(Reply(silent=True))) as silent:
        (tmp_path / "hook-token").write_text(SECRET)
        receiver = WebhookReceiver(f"http://{silent.host}/", 0.3, "json", str(tmp_path / "hook-token"))
        assert receiver.send(told()).result is Result.LATER


def test_cloudevents_need_no_secret_and_may_bring_a_token(tmp_path: Path) -> None:
    token = secret("of-the-broker")
    (tmp_path / "broker-token").write_text(token)
    with HostileServer(always(Reply(202))) as broker:
        for form in ("cloudevents", "cloudevents-binary"):
            url = f"http://{broker.host}/broker"
            receiver = WebhookReceiver(url, SECONDS, form, token_file=str(tmp_path / "broker-token"))  # type: ignore[arg-type]
            assert receiver.send(told()).result is Result.SENT
        whole, binary = broker.received
    assert whole.headers["authorization"] == binary.headers["authorization"] == f"Bearer {token}"
    event = json.loads(whole.body)
    assert whole.headers["content-type"].startswith("application/cloudevents+json")
    assert binary.headers["ce-id"] == event["id"]
    assert binary.headers["ce-type"] == event["type"] == "automator.failed"
    assert json.loads(binary.body) == event["data"]


@pytest.mark.parametrize("content", ["", "whsec_no base64", "whsec_", "hunter2", "whsec_aHVudGVyMg=="])
def test_a_file_that_is_of_no_use_is_told_without_its_content(tmp_path: Path, content: str) -> None:
    answer = webhook(tmp_path, "http://127.0.0.1:1/", secrets=content).send(told())
    assert answer.result is Result.LATER, "files change without a restart"
    assert "secret_file" in answer.words
    assert "no base64" not in answer.words.replace("that is no base64", "")


# -- chats and mail ----------------------------------------------------------------------------------------


def test_mail_arrives_as_text_in_which_nothing_is_alive(tmp_path: Path, mail: Mailbox) -> None:
    hostile = "<img src=x onerror=alert(1)> @all https://evil.example/ *x*\r\nBcc: all@example.com"
    assert mailed(tmp_path, mail.url, told(hostile, after="<b>")) == "sent it was taken"
    (message,) = mail.messages
    assert message["Bcc"] is None
    assert str(message["To"]).endswith("<team@example.com>") or message["To"] == "team@example.com"
    assert message["Subject"].startswith("shop: failed: web")
    said = body_of(message)
    assert "failed: web (production, team-shop): " in said
    assert "<img" not in said
    assert "https://evil" not in said


def test_a_refusing_mail_server_is_tried_later(tmp_path: Path, mail: Mailbox) -> None:
    mail.refuse = "451 try later"
    answer = mailed(tmp_path, mail.url, told())
    assert answer.startswith("later ")
    assert "127.0.0.1" not in answer
    assert mail.messages == []


def test_nobody_there_is_no_error_of_ours(tmp_path: Path) -> None:
    url = f"mailto://127.0.0.1:{free_port()}?from=a@example.com&to=b@example.com"
    assert chat(tmp_path, url).send(told()).result is Result.LATER


def test_a_mail_server_that_hangs_is_left_to_itself(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mailto://127.0.0.1:{silent.getsockname()[1]}?from=a@example.com&to=b@example.com&cto=30"
        receiver = chat(tmp_path, url, seconds=0.5)
        assert receiver.send(told()).words == "it took no message within 0.5 seconds"
        assert receiver.send(told()).words == "it still hangs in the message before"


def test_markdown_goes_to_those_who_know_it(tmp_path: Path) -> None:
    with HostileServer(always(Reply(204))) as server:
        url = f"json://{server.host}/"
        assert chat(tmp_path, url).send(told()).result is Result.SENT
        assert json.loads(server.received[0].body)["message"].startswith("failed: web")
        assert json.loads(server.received[0].body)["type"] == "failure"


@pytest.mark.parametrize("content", ["", "nonsense", "gopher://x", "json://a/\njson://b/"])
def test_an_address_that_is_none_is_told(tmp_path: Path, content: str) -> None:
    answer = chat(tmp_path, content).send(told())
    assert answer.result is Result.LATER
    assert "url_file" in answer.words


@pytest.mark.parametrize(
    "words",
    [
        "Failed to send to slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/",
        "POST https://hooks.example.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ failed",
        "bad token TIiajkdnlazkcOXrIdevi7FQ for p@ss word",
    ],
)
def test_no_part_of_an_address_is_told(words: str) -> None:
    url = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?x=p%40ss%20word"
    said = masked(words, url)
    for part in ("T1JJ3T3L2", "A1BRTD4JD", "TIiajkdnlazkcOXrIdevi7FQ", "word"):
        assert part not in said


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mailtos://bob:Kx9%40Lm2%3AQr7@smtp.example.com?to=b@c.org", "denied: Kx9@Lm2:Qr7"),
        ("mailtos://bob:p%40ss%3Aw0rd!@smtp.example.com?to=b@c.org", "denied: p@ss:w0rd! or p%40ss%3Aw0rd!"),
        ("mailtos://bob:a+b%2Bcd@smtp.example.com", "denied: a b+cd"),
        ("mailtos://bob:Zq7@smtp.example.com", "denied: Zq7"),
        ("mailtos://smtp.example.com?user=bob&pass=Q7", "denied: Q7"),
        ("json://host.example.com/?x=1&token=Zq", "denied: Zq"),
    ],
)
def test_no_password_is_told_however_it_is_written(url: str, words: str) -> None:
    said = masked(words, url)
    assert said.startswith("denied: *")
    assert set(said.removeprefix("denied: ")) <= set("* or")


@pytest.mark.parametrize("limit", [40, 60, 140, 1_400])
def test_a_text_is_cut_between_lines_to_what_a_service_takes(limit: int) -> None:
    text = "\n".join(f"released: web-{n} 1.4.2 → 1.4.3 & more" for n in range(40))
    cut = shortened(text, limit)
    assert len(cut.replace("&", "&amp;")) <= limit
    *whole, last = cut.split("\n")
    assert set(whole) <= set(text.split("\n"))
    assert last.endswith("… and more" if whole else "…")
    assert shortened(text, 10_000) == text


def test_a_chat_gets_no_more_than_it_takes(tmp_path: Path) -> None:
    """Discord refuses more than 2,000 characters for good, the title among them."""
    moved = Item(Kind.RELEASED, "workload web", "k", "moved", before="1" * 80, after="2" * 80)
    many = message("shop", tuple(replace(moved, subject=f"workload {n}") for n in range(40)), NOON, salt="x")
    with HostileServer(always(Reply(204))) as server:
        (tmp_path / "code").write_text(AT_DISCORD)
        chat(tmp_path, "discord://123456789012345678/abcdefghijklmnopqrstuvwxyz")
        done = subprocess.run(
            [sys.executable, tmp_path / "code", tmp_path / "chat-token", f"http://{server.host}"],
            input=message_text(many), capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert done.stdout == "sent\n", done.stderr
        (received,) = server.received
    content = json.loads(received.body)["content"]
    assert len(content) <= 2_000
    assert content.count("\n") >= 8
    assert content.endswith("… and more")


AT_DISCORD = """
import sys
from apprise.plugins.discord import NotifyDiscord
NotifyDiscord.notify_url = sys.argv[2]
from automator.core.noticetext import read_message
from automator.edges.notify import ChatReceiver
print(ChatReceiver(sys.argv[1], 20).send(read_message(sys.stdin.read())).result.value)
"""


HOSTILE = "@all <!channel> [mend](https://evil.example/) <at>everybody</at>"
SENDING = """
import sys
from automator.core.noticetext import read_message
from automator.edges.notify import ChatReceiver
{before}
print(ChatReceiver(sys.argv[1], 20).send(read_message(sys.stdin.read())))
"""


def delivered(folder: Path, url: str, message: Message, before: str = "", **env: str) -> str:
    """What a process of its own says after sending a message; `before` leads a service's address to here."""
    chat(folder, url)
    (folder / "code").write_text(SENDING.format(before=before))
    done = subprocess.run(
        [sys.executable, folder / "code", folder / "chat-token"],
        input=message_text(message), capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, **env},
    )  # fmt: skip
    return done.stdout + done.stderr


def test_slack_is_sent_its_own_marks_and_nothing_alive(tmp_path: Path) -> None:
    with HostileServer(always(Reply(200, b"ok"))) as server:
        here = f'from apprise.plugins.slack import NotifySlack as S; S.webhook_url = "http://{server.host}"'
        url = "slack://T00000000/B00000000/abcdefghijklmnopqrstuvwx/"
        assert "SENT" in delivered(tmp_path, url, told(HOSTILE), here)
        (received,) = server.received
    assert received.path == "/T00000000/B00000000/abcdefghijklmnopqrstuvwx"
    sent = json.loads(received.body)
    (attachment,) = sent["attachments"]
    assert attachment["title"].startswith("shop: failed: web")
    assert "failed: web" in attachment["text"]
    assert_nothing_alive(received.body.decode())


def test_teams_is_sent_a_card_and_nothing_alive(tmp_path: Path) -> None:
    authority = make_ca(tmp_path)
    with HostileServer(always(Reply(202)), tls=authority.issue(["127.0.0.1"]).both_file) as server:
        url = f"workflows://{server.host}/abcdef0123/signature0123/"
        said = delivered(tmp_path, url, told(HOSTILE), REQUESTS_CA_BUNDLE=str(authority.ca_file))
        assert "SENT" in said
        (received,) = server.received
    assert received.path == "/workflows/abcdef0123/triggers/manual/paths/invoke"
    assert received.query["sig"] == "signature0123"
    (card,) = json.loads(received.body)["attachments"]
    assert card["contentType"] == "application/vnd.microsoft.card.adaptive"
    texts = [part["text"] for part in card["content"]["body"] if part["type"] == "TextBlock"]
    assert texts[0].startswith("shop: failed: web")
    assert "failed: web" in texts[1]
    assert "entities" not in card["content"]["msteams"], "nobody is mentioned"
    assert_nothing_alive(received.body.decode())


def assert_nothing_alive(body: str) -> None:
    """Nobody is called and nothing leads elsewhere by words of others."""
    for alive in ("<!channel>", "@all", "<at>everybody</at>", "](https://evil", "https://evil.example"):
        assert alive not in body, alive


def test_the_example_of_the_documentation_verifies_what_we_send(tmp_path: Path, hook: Inbox) -> None:
    """The code that docs/notifications.md gives to those who write a receiver."""
    page = (Path(__file__).parents[2] / "docs/notifications.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    names: dict[str, object] = {}
    exec(code, names)
    webhook(tmp_path, hook.url).send(told())
    (received,) = hook.server.received
    verified = names["verified"]
    assert callable(verified)
    at = int(received.headers["webhook-timestamp"])
    key = SECRET.encode()
    assert verified(received.headers, received.body, [key], now=at) == json.loads(received.body)
    assert verified(received.headers, received.body, [b"other", key], now=at + 299) is not None
    for wrong in (
        (received.headers, received.body + b" ", [key], at),
        (received.headers, received.body, [b"other"], at),
        (received.headers, received.body, [key], at + 301),
        ({**received.headers, "webhook-id": "x"}, received.body, [key], at),
        ({}, received.body, [key], at),
    ):
        with pytest.raises(ValueError, match=r"sign|old"):
            verified(*wrong[:3], now=wrong[3])
