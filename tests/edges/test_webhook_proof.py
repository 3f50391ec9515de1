"""Who may send events, and what their bodies may do: secrets, signatures, tokens, and hostile bodies."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, get_args

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from parts import canaries

from automator.config.outside import Sender as SenderName
from automator.core.reference import Repository
from automator.edges.webhook import BODY_LIMIT, SENDERS, Door, Event, Request, Result, ecr_aliases, read_event

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
SECRET = canaries.secret("of the hooks")
WEB = Repository("registry.example.com", "acme/web")
HUB_PUSH = b'{"repository": {"repo_name": "acme/web"}, "push_data": {"tag": "1.4.3"}}'
ACR_PUSH = (
    b'{"action": "push", "target": {"repository": "acme/web"}, "request": {"host": "registry.example.com"}}'
)


def no_keys() -> bytes:
    raise AssertionError("only tokens ask for Google's keys")


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    return file


def read(
    door: Door,
    body: bytes,
    *,
    method: str = "POST",
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    now: datetime = NOW,
    keys: Callable[[], bytes] = no_keys,
) -> Event:
    request = Request.of(method, (query or {}).items(), (headers or {}).items(), body)
    return read_event(door, request, now=now, keys=keys)


def hub(file: Path, secret: str) -> Event:
    return read(Door("hub", "dockerhub", str(file)), HUB_PUSH, query={"secret": secret})


def signature(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


# -- secrets ----------------------------------------------------------------------------------------


def test_every_sender_that_the_config_knows_is_understood() -> None:
    assert set(SENDERS) == set(get_args(SenderName))


def test_while_a_secret_is_changed_the_old_and_the_new_one_open_the_door(secret_file: Path) -> None:
    secret_file.write_text("\nthe old one\r\n\n  the new one  \n\n")

    assert hub(secret_file, "the old one").result is Result.ACCEPTED
    assert hub(secret_file, "the new one").result is Result.ACCEPTED
    for wrong in ("", " ", "the", "the old one\nthe new one", "the old one\r"):
        assert hub(secret_file, wrong).code == "bad-secret", wrong

    secret_file.write_text("the new one\n")
    assert hub(secret_file, "the old one").status == 401


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        ("", "it is empty"),
        (" \n\n\t\n", "it is empty"),
        ("x" * 70_000, "longer"),
    ],
)
def test_without_a_readable_secret_nobody_comes_in_and_the_operator_is_told(
    secret_file: Path, content: str | None, words: str
) -> None:
    secret_file.unlink()
    if content is not None:
        secret_file.write_text(content)

    for secret in ("", " ", "x"):
        event = hub(secret_file, secret)
        assert (event.result, event.code, event.status) == (Result.REJECTED, "unreadable-secret", 503)
        assert event.answer is None
        assert event.trouble is not None
        assert words in event.trouble.sentence
        assert str(secret_file) in event.trouble.next_step


def test_a_door_without_a_secret_file_lets_nobody_in() -> None:
    event = read(Door("hub", "dockerhub"), HUB_PUSH, query={"secret": ""})

    assert (event.status, event.code) == (503, "unreadable-secret")


def test_the_header_that_the_operator_names_carries_the_secret_and_nothing_else_does(
    secret_file: Path,
) -> None:
    door = Door("acr", "acr", str(secret_file), header="X-Acme-Key")
    assert read(door, ACR_PUSH, headers={"x-acme-key": SECRET}).result is Result.ACCEPTED
    assert read(door, ACR_PUSH, headers={"Authorization": SECRET}).code == "missing-secret"

    hidden = Door("hub", "dockerhub", str(secret_file), header="X-Acme-Key")
    assert read(hidden, HUB_PUSH, query={"secret": SECRET}).code == "missing-secret"


def test_a_bearer_token_may_stand_in_the_file_with_its_first_word_or_without(secret_file: Path) -> None:
    door = Door("acr", "acr", str(secret_file))
    sent = {"Authorization": f"Bearer {SECRET}"}
    assert read(door, ACR_PUSH, headers=sent).result is Result.ACCEPTED
    secret_file.write_text(f"Bearer {SECRET}\n")
    assert read(door, ACR_PUSH, headers=sent).result is Result.ACCEPTED
    assert read(door, ACR_PUSH, headers={"Authorization": SECRET}).code == "bad-secret"


def test_a_secret_outside_ascii_fits_when_its_bytes_do(secret_file: Path) -> None:
    secret_file.write_text("schlüssel\n")

    assert hub(secret_file, "schlüssel").result is Result.ACCEPTED
    on_the_wire = "schlüssel".encode().decode("latin-1")  # as servers hand headers on
    door = Door("acr", "acr", str(secret_file))
    assert read(door, ACR_PUSH, headers={"Authorization": on_the_wire}).result is Result.ACCEPTED
    assert read(door, ACR_PUSH, headers={"Authorization": "schl\udcfcssel ✓"}).code == "bad-secret"


@pytest.mark.parametrize("order", [(SECRET, "wrong"), ("wrong", SECRET), (SECRET, SECRET)])
def test_a_secret_that_comes_twice_is_no_secret(secret_file: Path, order: tuple[str, str]) -> None:
    in_url = Request.of("POST", [("secret", one) for one in order], [], HUB_PUSH)
    in_header = Request.of("POST", [], [("Authorization", order[0]), ("authorization", order[1])], ACR_PUSH)

    for sender, request in (("dockerhub", in_url), ("acr", in_header)):
        event = read_event(Door("d", sender, str(secret_file)), request, now=NOW, keys=no_keys)
        assert (event.status, event.code) == (401, "bad-secret")


def test_gitlabs_own_header_counts_beside_that_of_its_registry(secret_file: Path) -> None:
    door = Door("gitlab", "gitlab", str(secret_file))
    body = json.dumps(
        {
            "ref": "refs/heads/main",
            "after": "a" * 40,
            "project": {"git_http_url": "https://gitlab.example.com/acme/config.git"},
        }
    ).encode()
    headers = {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": SECRET, "Authorization": "Basic of-a-proxy"}

    event = read(door, body, headers=headers)

    assert (event.result, event.code) == (Result.ACCEPTED, "git-pushed")
    assert read(door, body, headers={**headers, "X-Gitlab-Token": "wrong"}).code == "bad-secret"


def test_a_ci_job_signs_what_it_sends_or_sends_the_secret(secret_file: Path) -> None:
    door = Door("ci", "generic", str(secret_file))
    body = b'{"image": "registry.example.com/acme/web:1.4.3", "images": ["nginx"]}'

    signed = read(door, body, headers={"X-Signature": f"sha256={signature(body)}"})
    assert [str(push.repository) for push in signed.pushes] == [str(WEB), "docker.io/library/nginx"]
    assert read(door, body, headers={"Authorization": f"Bearer {SECRET}"}).pushes == signed.pushes
    assert (
        read(door, body + b" ", headers={"X-Signature": f"sha256={signature(body)}"}).code == "bad-signature"
    )
    # A wrong signature is not mended by a right secret beside it.
    both = {"X-Signature": "sha256=00", "Authorization": SECRET}
    assert read(door, body, headers=both).code == "bad-signature"

    named = Door("ci", "generic", str(secret_file), header="X-Acme", signed=True)
    assert read(named, body, headers={"X-Acme": signature(body).upper()}).result is Result.ACCEPTED
    assert read(named, body, headers={"X-Acme": SECRET}).code == "bad-signature"
    assert read(named, body).code == "missing-signature"


def test_a_byte_order_mark_is_no_part_of_the_secret(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"\xef\xbb\xbfhunter2\r\n")
    door = Door("hub", "dockerhub", str(file))
    assert read(door, HUB_PUSH, query={"secret": "hunter2"}).code == "pushed"


@pytest.mark.parametrize("sender", ["dockerhub", "cloudevents", "quay"])
def test_where_a_signature_is_asked_for_the_secret_itself_opens_nothing(
    secret_file: Path, sender: str
) -> None:
    door = Door("d", sender, str(secret_file), signed=True)

    assert read(door, HUB_PUSH, query={"secret": SECRET}).code == "missing-signature"
    if sender == "cloudevents":
        assert read(door, HUB_PUSH, headers={"X-Webhook-Secret": SECRET}).code == "bad-signature"


@pytest.mark.parametrize(
    "told",
    [
        {"repository": "registry.example.com/acme/web", "tag": "1"},
        {"repository": "acme/web", "registry": "registry.example.com", "tag": "1"},
        {"images": ["registry.example.com/acme/web:1"]},
    ],
)
def test_a_ci_job_names_its_image_as_it_likes(secret_file: Path, told: dict[str, Any]) -> None:
    event = read(
        Door("ci", "generic", str(secret_file)), json.dumps(told).encode(), headers={"Authorization": SECRET}
    )

    assert [(push.repository, push.tag) for push in event.pushes] == [(WEB, "1")]


def test_a_nexus_signature_over_other_white_space_fits_and_over_other_words_does_not(
    secret_file: Path,
) -> None:
    told = {"action": "CREATED", "repositoryName": "r", "component": {"format": "docker", "name": 'a b" \\'}}
    compact = json.dumps(told, separators=(",", ":")).encode()
    value = hmac.new(SECRET.encode(), compact, hashlib.sha1).hexdigest()
    door = Door("nexus", "nexus", str(secret_file), registries={"r": "registry.example.com"})
    headers = {"X-Nexus-Webhook-Signature": value}

    for text in (compact, json.dumps(told, indent=3).encode(), json.dumps(told, indent="\t").encode()):
        # The name has spaces, so it names no image; the sender is proved all the same.
        assert read(door, text, headers=headers).code == "unusable-name"
    assert read(door, compact.replace(b"a b", b"ab"), headers=headers).code == "bad-signature"


def test_a_body_made_to_be_slow_is_read_in_time(secret_file: Path) -> None:
    door = Door("nexus", "nexus", str(secret_file))
    for body in (b'"' + b'\\"' * (BODY_LIMIT // 2 - 1), b'"\\' * (BODY_LIMIT // 2), b" " * BODY_LIMIT):
        # Quadratic work over a megabyte would outlast the time limit of the suite.
        assert read(door, body, headers={"X-Nexus-Webhook-Signature": "0" * 40}).code == "bad-signature"


def test_white_space_is_left_out_of_a_nexus_body_of_a_usual_size_only(secret_file: Path) -> None:
    door = Door("nexus", "nexus", str(secret_file), registries={"r": WEB.registry})
    component = {"format": "docker", "name": WEB.path, "version": "1"}
    for length, code in ((10_000, "pushed"), (100_000, "bad-signature")):
        told = {
            "action": "CREATED",
            "repositoryName": "r",
            "component": {**component, "x": ["1"] * (length // 5)},
        }
        compact = json.dumps(told, separators=(",", ":")).encode()
        value = hmac.new(SECRET.encode(), compact, hashlib.sha1).hexdigest()
        headers = {"X-Nexus-Webhook-Signature": value}

        # What is signed as it came is read whatever its size.
        assert read(door, compact, headers=headers).pushes
        # Anybody may send what has to be compacted before it is known to be no signature.
        assert read(door, json.dumps(told).encode(), headers=headers).code == code


@pytest.mark.parametrize("value", ["", "0", "0" * 39, "0" * 41, "g" * 40, "é" * 40, " " * 40])
def test_a_signature_that_cannot_be_one_is_refused(secret_file: Path, value: str) -> None:
    door = Door("nexus", "nexus", str(secret_file))

    assert read(door, b"{ }", headers={"X-Nexus-Webhook-Signature": value}).code == "bad-signature"


# -- what may be asked ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "post"])
def test_only_post_brings_events(secret_file: Path, method: str) -> None:
    event = read(
        Door("hub", "dockerhub", str(secret_file)), HUB_PUSH, method=method, query={"secret": SECRET}
    )

    assert (event.status, event.headers) == (405, (("Allow", "POST"),))


def test_a_body_past_the_limit_is_refused_before_anything_else(tmp_path: Path) -> None:
    event = read(Door("hub", "dockerhub", str(tmp_path / "none")), b" " * (BODY_LIMIT + 1))

    assert (event.status, event.code) == (413, "oversize")


def test_a_door_of_an_unknown_sender_is_no_door() -> None:
    assert read(Door("x", "nobody", "/nowhere"), b"").status == 404


@pytest.mark.parametrize("sender", ["cloudevents", "ecr", "eventgrid"])
def test_who_knows_the_secret_is_given_leave_to_send(secret_file: Path, sender: str) -> None:
    door = Door("grid", sender, str(secret_file))
    asked = {"WebHook-Request-Origin": "eventgrid.azure.net"}

    event = read(door, b"", method="OPTIONS", query={"secret": SECRET}, headers=asked)

    assert (event.result, event.code, event.status) == (Result.IGNORED, "handshake", 200)
    assert dict(event.headers)["WebHook-Allowed-Origin"] == "eventgrid.azure.net"
    assert read(door, b"", method="OPTIONS", headers=asked).status == 401
    for origin in ("", "a b", "x\r\nSet-Cookie: y", "é", "x" * 300):
        hostile = {"WebHook-Request-Origin": origin}
        refused = read(door, b"", method="OPTIONS", query={"secret": SECRET}, headers=hostile)
        assert (refused.status, refused.headers) == (400, ())


# -- what bodies may say ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "acme/web@sha256:00",
        "a" * 300,
        "acme/web:1",
        "acme web",
        "ac\nme/web",
        "é",
        "a//b",
    ],
)
def test_a_name_outside_the_grammar_is_dropped_and_the_sender_is_thanked(
    secret_file: Path, name: str
) -> None:
    body = json.dumps({"repository": {"repo_name": name}, "push_data": {"tag": "1"}}).encode()

    event = read(Door("hub", "dockerhub", str(secret_file)), body, query={"secret": SECRET})

    assert (event.result, event.code, event.status, event.pushes) == (
        Result.IGNORED,
        "unusable-name",
        200,
        (),
    )


@pytest.mark.parametrize(
    "host", ["registry", "a b.example.com", "x@y.example.com", "-.example.com", "évil.com"]
)
def test_a_host_that_is_none_is_not_taken_for_docker_hub(secret_file: Path, host: str) -> None:
    body = json.dumps(
        {"action": "push", "target": {"repository": "acme/web"}, "request": {"host": host}}
    ).encode()

    event = read(Door("acr", "acr", str(secret_file)), body, headers={"Authorization": SECRET})

    assert (event.code, event.pushes) == ("unusable-name", ())


def test_the_usable_names_of_an_event_stay_when_others_are_dropped(secret_file: Path) -> None:
    events = [
        {"action": "push", "target": {"repository": name, "tag": tag}, "request": {"host": WEB.registry}}
        for name, tag in (("acme/web", "1"), ("NO GOOD", "1"), ("acme/web", "-bad"), ("Acme/API", "2"))
    ]
    body = json.dumps({"events": events}).encode()

    event = read(Door("d", "distribution", str(secret_file)), body, headers={"Authorization": SECRET})

    assert [(push.repository.path, push.tag) for push in event.pushes] == [
        ("acme/web", "1"),
        ("acme/web", None),
        ("acme/api", "2"),
    ]


GOOD = {"action": "push", "target": {"repository": "acme/web", "tag": "1"}, "request": {"host": WEB.registry}}
NO_HOST = {"action": "push", "target": {"repository": "acme/x", "tag": "1", "url": "/v2/acme/x"}}
GRID = "Microsoft.ContainerRegistry.ImagePushed"
TOLD = {"specversion": "1.0", "type": "a.push", "id": "1", "source": "/x"}
ECR_TOLD = {**TOLD, "type": "com.amazon.ecr.image.push"}
ECR_ARN = "urn:aws:ecr:eu-west-1:123456789012:repository/acme/web"
BATCH = {"Content-Type": "application/cloudevents-batch+json", "X-Webhook-Secret": SECRET}


def harbor_push(*urls: object) -> dict[str, object]:
    resources = [{"resource_url": url, "tag": "1"} for url in urls]
    return {
        "type": "PUSH_ARTIFACT",
        "event_data": {"repository": {"repo_full_name": "acme/web"}, "resources": resources},
    }


@pytest.mark.parametrize(
    ("sender", "mixed", "odd"),
    [
        ("distribution", {"events": [NO_HOST, GOOD]}, {"events": [NO_HOST]}),
        (
            "distribution",
            {"events": [{**GOOD, "target": {"tag": "1"}}, GOOD]},
            {"events": [NO_HOST, NO_HOST]},
        ),
        ("harbor", harbor_push("/x", f"{WEB}:1", None), harbor_push("/x")),
        (
            "cloudevents",
            [
                {**TOLD, "data": {"repository": "acme/x"}},
                5,
                {**TOLD, "data": {"repository": "acme/web", "registry": WEB.registry}},
            ],
            [{**TOLD, "data": {"repository": "acme/x"}}],
        ),
        ("cloudevents", [ECR_TOLD, {}, {**ECR_TOLD, "source": ECR_ARN}], [ECR_TOLD]),
        (
            "eventgrid",
            [{"eventType": GRID, "data": NO_HOST}, {}, {"eventType": GRID, "data": GOOD}],
            [{"eventType": GRID, "data": NO_HOST}],
        ),
        ("generic", {"images": [1, f"{WEB}:1"]}, {"images": [1]}),
    ],
)
def test_an_odd_entry_costs_no_other_one(secret_file: Path, sender: str, mixed: object, odd: object) -> None:
    door = Door("d", sender, str(secret_file))
    headers = BATCH | {"Authorization": SECRET}

    def came_to(body: object) -> Event:
        return read(door, json.dumps(body).encode(), query={"secret": SECRET}, headers=headers)

    event = came_to(mixed)

    assert (event.result, event.status) == (Result.ACCEPTED, 202)
    assert [push.repository.path for push in event.pushes] == ["acme/web"]
    assert (came_to(odd).status, came_to(odd).code) == (400, "malformed-body")


@pytest.mark.parametrize(
    "host", ["index.docker.io", "registry-1.docker.io", "https://index.docker.io/v1/", "Docker.io"]
)
def test_docker_hub_is_one_registry_by_whichever_name_it_comes(secret_file: Path, host: str) -> None:
    door = Door("ci", "generic", str(secret_file))
    for told in (
        {"repository": "nginx", "registry": host, "tag": "1"},
        {"image": f"{host.lower().removeprefix('https://').removesuffix('/v1/')}/nginx:1"},
    ):
        event = read(door, json.dumps(told).encode(), headers={"Authorization": SECRET})
        assert [str(push.repository) for push in event.pushes] == ["docker.io/library/nginx"]


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-west-1", "dkr.ecr.eu-west-1.amazonaws.com"),
        ("us-gov-west-1", "dkr.ecr.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "dkr.ecr.cn-north-1.amazonaws.com.cn"),
        ("eusc-de-east-1", "dkr.ecr.eusc-de-east-1.amazonaws.eu"),
        ("us-iso-east-1", "dkr.ecr.us-iso-east-1.c2s.ic.gov"),
        ("us-isob-east-1", "dkr.ecr.us-isob-east-1.sc2s.sgov.gov"),
        ("eu-isoe-west-1", "dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk"),
        ("us-isof-south-1", "dkr.ecr.us-isof-south-1.csp.hci.ic.gov"),
    ],
)
def test_a_push_to_ecr_is_one_to_the_registry_of_its_partition(
    secret_file: Path, region: str, host: str
) -> None:
    detail = {"action-type": "PUSH", "result": "SUCCESS", "repository-name": "acme/web", "image-tag": "1"}
    event = {"source": "aws.ecr", "detail-type": "ECR Image Action", "account": "123456789012"}
    body = json.dumps({**event, "region": region, "detail": detail}).encode()

    got = read(Door("ecr", "ecr", str(secret_file)), body, headers={"X-Webhook-Secret": SECRET})

    assert [str(push.repository) for push in got.pushes] == [f"123456789012.{host}/acme/web"]


def test_only_registries_of_ecr_have_its_other_names() -> None:
    named = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    assert len({ecr_aliases(host) for host in ecr_aliases(named)}) == 1
    assert named in ecr_aliases(named)
    for other in (
        "ghcr.io",
        "public.ecr.aws",
        f"{named}.evil.example",
        f"{named}.cn",
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com",
        "x.dkr.ecr.eu-west-1.amazonaws.com",
    ):
        assert ecr_aliases(other) == ()


def test_an_image_of_gitea_that_has_no_tag_is_no_push(secret_file: Path) -> None:
    package = {"type": "container", "name": "web", "owner": {"login": "acme"}}
    package |= {"version": "sha256:" + "a" * 64, "html_url": "https://gitea.example.com/acme/-/packages"}
    body = json.dumps({"action": "created", "package": package}).encode()
    headers = {"X-Gitea-Event": "package", "X-Gitea-Signature": signature(body)}

    event = read(Door("gitea", "gitea", str(secret_file)), body, headers=headers)

    assert (event.status, event.code, event.pushes) == (200, "not-a-push", ())


@pytest.mark.parametrize("url", ["acme/other:1", "other:1", "https://x.example/acme/other:1", ""])
def test_a_package_url_of_github_without_a_host_is_not_taken_for_docker_hub(
    secret_file: Path, url: str
) -> None:
    package = {"package_type": "CONTAINER", "name": "web", "owner": {"login": "Acme"}}
    body = json.dumps(
        {"action": "published", "package": {**package, "package_version": {"package_url": url}}}
    ).encode()
    headers = {"X-GitHub-Event": "package", "X-Hub-Signature-256": f"sha256={signature(body)}"}

    event = read(Door("github", "github", str(secret_file)), body, headers=headers)

    assert [str(push.repository) for push in event.pushes] == ["ghcr.io/acme/web"]


def test_the_operators_host_counts_whatever_the_event_says(secret_file: Path) -> None:
    door = Door("acr", "acr", str(secret_file), registry="mirror.example.com:5000")

    event = read(door, ACR_PUSH, headers={"Authorization": SECRET})

    assert [str(push.repository) for push in event.pushes] == ["mirror.example.com:5000/acme/web"]


def test_images_that_artifactory_serves_by_a_host_of_their_own_have_no_repository_before_them(
    secret_file: Path,
) -> None:
    door = Door(
        "jf", "artifactory", str(secret_file), registry=WEB.registry, repositories={"docker-local": ""}
    )
    data = {"repo_key": "docker-local", "image_name": "acme/web", "tag": "1"}
    body = json.dumps({"domain": "docker", "event_type": "pushed", "data": data}).encode()

    event = read(door, body, headers={"X-JFrog-Event-Auth": SECRET})

    assert [push.repository for push in event.pushes] == [WEB]


def test_the_deliverys_number_is_one_short_line(secret_file: Path) -> None:
    body = json.dumps({**json.loads(ACR_PUSH), "id": "1\n2026 ERROR forged\x1b[2J" + "x" * 500}).encode()

    delivery = read(Door("acr", "acr", str(secret_file)), body, headers={"Authorization": SECRET}).delivery

    assert delivery is not None
    assert delivery.isprintable()
    assert len(delivery) <= 80


def test_a_git_push_with_names_that_no_git_has_is_refused(secret_file: Path) -> None:
    door = Door("gitea", "gitea", str(secret_file))
    for url, ref in (
        ("https://x/\n", "refs/heads/main"),
        ("https://x", "refs/heads/\x1b"),
        ("", "refs/heads/main"),
    ):
        body = json.dumps({"ref": ref, "after": "a" * 40, "repository": {"clone_url": url}}).encode()
        headers = {"X-Gitea-Event": "push", "X-Gitea-Signature": signature(body)}
        event = read(door, body, headers=headers)
        assert (event.status, event.code) == (400, "malformed-body")


# -- tokens of Google -------------------------------------------------------------------------------

GAR = Door("gar", "gar", audience="https://automator.example.com/hooks/gar", email="push@acme.example.com")
GAR_PUSH = json.dumps(
    {"message": {"data": "eyJhY3Rpb24iOiJJTlNFUlQiLCJ0YWciOiJnY3IuaW8vYWNtZS93ZWI6MSJ9", "messageId": "7"}}
).encode()


@cache
def google() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def published(name: str = "k1") -> bytes:
    public = jwt.algorithms.RSAAlgorithm.to_jwk(google().public_key(), as_dict=True)
    return json.dumps({"keys": [{**public, "kid": name, "alg": "RS256", "use": "sig"}]}).encode()


def token(**changes: object) -> str:
    claims = {
        "iss": "https://accounts.google.com",
        "aud": GAR.audience,
        "email": GAR.email,
        "email_verified": True,
        "iat": (NOW - timedelta(minutes=1)).timestamp(),
        "exp": (NOW + timedelta(hours=1)).timestamp(),
    }
    kept = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return jwt.encode(kept, google(), algorithm="RS256", headers={"kid": "k1"})


def gar(bearer: str, **more: Any) -> Event:
    return read(GAR, GAR_PUSH, headers={"Authorization": bearer}, **{"keys": published, **more})


def test_a_token_of_google_for_us_opens_the_door() -> None:
    event = gar(f"Bearer {token()}")

    assert (event.result, event.delivery) == (Result.ACCEPTED, "7")
    assert [(str(push.repository), push.tag) for push in event.pushes] == [("gcr.io/acme/web", "1")]


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://accounts.example.com"},
        {"iss": None},
        {"aud": "https://automator.example.com/hooks/other"},
        {"aud": None},
        {"email": "other@acme.example.com"},
        {"email": None},
        {"email_verified": False},
        {"email_verified": "true"},
        {"exp": None},
        {"exp": (NOW - timedelta(minutes=2)).timestamp()},
        {"exp": "never"},
        {"exp": float("nan")},
        {"nbf": (NOW + timedelta(hours=1)).timestamp()},
    ],
)
def test_a_token_that_says_anything_else_does_not(changes: dict[str, object]) -> None:
    event = gar(f"Bearer {token(**changes)}")

    assert (event.result, event.status, event.code) == (Result.REJECTED, 401, "bad-secret")


def test_a_token_is_judged_by_the_clock_that_is_given() -> None:
    bearer = f"Bearer {token()}"

    assert gar(bearer, now=NOW + timedelta(minutes=59)).result is Result.ACCEPTED
    assert gar(bearer, now=NOW + timedelta(minutes=62)).code == "bad-secret"


def test_a_token_signed_with_what_everybody_knows_is_refused() -> None:
    public = published()
    symmetric = jwt.encode({"aud": GAR.audience}, hashlib.sha512(public).hexdigest(), "HS256", {"kid": "k1"})
    for bad in (
        symmetric,
        token()[:-8] + "AAAAAAAA",
        "a.b.c",
        "..",
        "x" * 9000,
        "é.é.é",
        "[" * 4000 + ".e30.e30",
    ):
        event = gar(f"Bearer {bad}")
        assert (event.status, event.code) == (401, "bad-signature"), bad[:40]
    assert gar("Basic eDp5").code == "bad-secret"
    assert gar(f"Bearer {token()}", keys=lambda: published("another")).code == "bad-signature"


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": 1}', b'{"keys": [{"kty": "RSA"}]}'])
def test_without_googles_keys_events_are_put_off_and_the_operator_is_told(document: bytes) -> None:
    def unreachable() -> bytes:
        raise OSError("no way to the host\nforged line")

    for keys in (lambda: document, unreachable):
        event = gar(f"Bearer {token()}", keys=keys)
        assert (event.result, event.status, event.code) == (Result.REJECTED, 503, "keys-unavailable")
        assert event.trouble is not None
        assert "hooks.gar" in event.trouble.sentence
        assert event.trouble.sentence.isprintable()


# -- laws -------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
# Words that the adapters look for, so that random bodies reach deep into them.
KEYS = """
    action type data detail event_data events id images image message package push changes new target name
    repository registry resources resource_url tag digest updated_tags docker_url source specversion subject
    eventType domain event_type component format version project ref after links clone href repo_full_name
    region repo_name host request detail-type account repository-name action-type result mediaType push_data
    namespace owner login html_url clone_url git_http_url repositoryName repo_key image_name jpd_origin
"""
WORDS = """
    push PUSH_ARTIFACT pushed CREATED docker container published created aws.ecr acme/web 1.0 SUCCESS INSERT
    registry.example.com Microsoft.ContainerRegistry.ImagePushed com.amazon.ecr.image.push branch
    harbor.artifact.pushed refs/heads/main sha256:00 eu-west-1 123456789012 https://example.com/acme
    urn:aws:ecr:eu-west-1:123456789012:repository/x
"""
HEADER_NAMES = """
    authorization x-webhook-secret x-github-event x-gitlab-event x-gitlab-token x-gitea-event x-event-key
    content-type ce-specversion ce-type ce-source ce-subject x-hub-signature x-hub-signature-256
    x-gitea-signature x-forgejo-signature x-nexus-webhook-signature x-jfrog-event-auth x-signature
"""
BODIES = st.recursive(
    st.sampled_from(WORDS.split()) | JSON,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS.split()), inner, max_size=6)
    ),
    max_leaves=25,
)
HEADERS = st.dictionaries(
    st.sampled_from(HEADER_NAMES.split()),
    st.sampled_from(["push", "package", "Push Hook", "repo:push", "repo:refs_changed", "1.0", "sha256=00"])
    | st.text(max_size=12),
    max_size=6,
)


@pytest.fixture(scope="module")
def lasting_secret(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("hooks") / "secret"
    file.write_text(SECRET)
    return str(file)


def door_of(sender: str, file: str) -> Door:
    return Door("d", sender, file, audience=GAR.audience, email=GAR.email)


@given(
    sender=st.sampled_from(sorted(SENDERS)),
    body=st.binary(max_size=60) | BODIES.map(lambda b: json.dumps(b).encode()),
    headers=HEADERS,
)
def test_nothing_that_is_sent_without_a_proof_is_accepted(
    lasting_secret: str, sender: str, body: bytes, headers: dict[str, str]
) -> None:
    event = read(
        door_of(sender, lasting_secret), body, query={"secret": "guess"}, headers=headers, keys=published
    )

    assert (event.result, event.status) == (Result.REJECTED, 401)
    assert not event.pushes
    assert not event.git_pushes
    assert event.delivery is None


def proof_of(body: bytes) -> dict[str, str]:
    """Headers that prove any of the senders."""
    mac = signature(body)
    sha1 = hmac.new(SECRET.encode(), body, hashlib.sha1).hexdigest()
    signed = {"x-gitea-signature": mac, "x-forgejo-signature": mac, "x-nexus-webhook-signature": sha1}
    prefixed = dict.fromkeys(("x-hub-signature", "x-hub-signature-256", "x-signature"), f"sha256={mac}")
    plain = dict.fromkeys(("x-webhook-secret", "x-gitlab-token", "x-jfrog-event-auth"), SECRET)
    return {**signed, **prefixed, **plain}


@given(
    sender=st.sampled_from(sorted(SENDERS)),
    body=BODIES.map(lambda b: json.dumps(b).encode()),
    headers=HEADERS,
)
def test_whatever_a_proved_sender_says_is_understood_or_refused(
    lasting_secret: str, sender: str, body: bytes, headers: dict[str, str]
) -> None:
    login = f"Bearer {google_token()}" if sender == "gar" else SECRET
    proved = {**headers, **proof_of(body), "authorization": login}

    event = read(
        door_of(sender, lasting_secret), body, query={"secret": SECRET}, headers=proved, keys=published
    )

    assert event.status in (200, 202, 400)
    assert (
        (event.status == 202) == bool(event.pushes or event.git_pushes) == (event.result is Result.ACCEPTED)
    )
    for push in event.pushes:
        assert push.repository.registry == push.repository.registry.lower()
        assert str(push.repository).isprintable()


@cache
def google_token() -> str:
    return token()
