"""Deliveries of registries and forges as they are recorded: each through the public function.

The deliveries are data outside the project (AUTOMATOR_CONFORMANCE); without them these tests are
skipped, and test_webhook_proof.py shows the rules on payloads of its own.
"""

from __future__ import annotations

import hmac
import json
import os
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automator.edges.webhook import SENDERS, Door, Event, Evidence, Request, Result, read_event

CONFORMANCE = Path(
    os.environ.get("AUTOMATOR_CONFORMANCE") or Path(__file__).parents[3] / "shared" / "conformance"
)
FOLDER = CONFORMANCE / "webhooks"
ROWS = {file.stem: json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))}
NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)

pytestmark = pytest.mark.skipif(not ROWS, reason=f"no recorded deliveries in {FOLDER}")


def sender_of(row: dict[str, Any]) -> str:
    name: str = row["sender"].removesuffix("-push").removesuffix("-server")
    return "eventgrid" if name == "acr-eventgrid" else name


def body_of(row: dict[str, Any]) -> bytes:
    return (row["raw"] if "raw" in row else json.dumps(row["body"])).encode()


def deliver(
    row: dict[str, Any],
    folder: Path,
    *,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
) -> Event:
    secret = folder / "secret"
    secret.write_text((row.get("secret") or "") + "\n")
    auth, receiver = row["auth"], row.get("receiver", {})
    door = Door(
        name="row",
        sender=sender_of(row),
        secret_file=str(secret),
        signed=sender_of(row) == "artifactory" and auth["scheme"] == "hmac-sha256",
        audience=auth.get("audience"),
        email=auth.get("email"),
        registry=receiver.get("registry"),
        registries=receiver.get("registries", {}),
        repositories=receiver.get("repositories", {}),
    )
    request = Request.of(
        row["method"],
        (row.get("query", {}) if query is None else query).items(),
        (row["headers"] if headers is None else headers).items(),
        body_of(row) if body is None else body,
    )
    return read_event(door, request, now=NOW, keys=lambda: json.dumps(auth["jwks"]).encode())


@pytest.mark.parametrize("name", ROWS)
def test_a_recorded_delivery_comes_to_what_it_says(name: str, tmp_path: Path) -> None:
    row = ROWS[name]

    event = deliver(row, tmp_path)

    assert event.result in {row["expected_status"], *row.get("also_allowed", [])}
    assert 200 <= event.status < 300 or event.result is Result.REJECTED
    assert 400 <= event.status < 500 or event.result is not Result.REJECTED
    if event.result == row["expected_status"]:
        assert [
            {
                "registry": p.repository.registry,
                "repository": p.repository.path,
                "tag": p.tag,
                "digest": p.digest,
            }
            for p in event.pushes
        ] == row["expected"]
        assert [{"urls": list(g.urls), "ref": g.ref, "commit": g.commit} for g in event.git_pushes] == (
            row.get("expected_git") or []
        )
        assert "reason" not in row or event.code == row["reason"].replace("_", "-")
    if "expected_response" in row:
        assert event.status == row["expected_response"]["status"]
        assert json.loads(event.answer or b"") == row["expected_response"]["body"]


GENUINE = [name for name, row in ROWS.items() if row["expected_status"] != "rejected"]
SIGNED = [name for name in GENUINE if ROWS[name]["auth"]["scheme"].startswith("hmac")]


@pytest.mark.parametrize("name", GENUINE)
def test_a_genuine_delivery_without_its_proof_is_refused(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    auth = row["auth"]
    headers = {k: v for k, v in row["headers"].items() if k != auth.get("header")}
    query = {k: v for k, v in row.get("query", {}).items() if k != auth.get("name")}

    event = deliver(row, tmp_path, headers=headers, query=query)

    assert (event.result, event.status) == (Result.REJECTED, 401)
    assert event.code in ("missing-secret", "missing-signature")
    assert not event.pushes
    assert not event.git_pushes
    assert event.answer is None


@pytest.mark.parametrize("name", SIGNED)
def test_a_signed_delivery_with_one_byte_changed_is_refused(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    whole = body_of(row)
    # A byte of a word in the middle: white space may change without harm where only the JSON is signed.
    at = next(i for i in range(len(whole) // 2, len(whole)) if chr(whole[i]).isalnum())
    changed = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]

    event = deliver(row, tmp_path, body=changed)

    assert (event.result, event.status, event.code) == (Result.REJECTED, 401, "bad-signature")


@pytest.mark.parametrize("name", GENUINE)
def test_a_delivery_that_comes_again_says_the_same(name: str, tmp_path: Path) -> None:
    assert deliver(ROWS[name], tmp_path) == deliver(ROWS[name], tmp_path)


@pytest.mark.parametrize("name", sorted({*GENUINE} - {*SIGNED}))
def test_a_genuine_sender_whose_body_is_junk_is_refused_or_ignored(name: str, tmp_path: Path) -> None:
    row = ROWS[name]
    for junk in (
        b"",
        b"null",
        b"[]",
        b"{}",
        b"{",
        b'"x"',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"events":[1]}',
        b"NaN",
    ):
        event = deliver(row, tmp_path, body=junk)
        assert event.result is not Result.ACCEPTED
        assert event.status in (200, 400)


def paths(value: object, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in a JSON value, the whole first."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, one in inner for path in paths(one, (*at, key)))]


def replaced(value: Any, path: tuple[str | int, ...], new: object) -> Any:
    if not path:
        return new
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def resigned(row: dict[str, Any], body: bytes) -> dict[str, str]:
    auth, headers = row["auth"], dict(row["headers"])
    if auth["scheme"].startswith("hmac"):
        value = hmac.new(row["secret"].encode(), body, auth["scheme"].removeprefix("hmac-")).hexdigest()
        headers[auth["header"]] = auth["prefix"] + value
    return headers


READABLE = [
    n for n in GENUINE if ROWS[n]["headers"].get("Content-Type") != "application/x-www-form-urlencoded"
]


@given(data=st.data())
def test_a_genuine_delivery_with_anything_in_any_place_is_understood_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    row = ROWS[data.draw(st.sampled_from(READABLE))]
    told = json.loads(body_of(row))
    for _ in range(data.draw(st.integers(1, 3))):
        junk = st.sampled_from(
            [None, True, 0, -1.5, "", "x", "a b\n", "\ud800", [], {}, [None], ["x"], {"x": 1}]
        )
        told = replaced(told, data.draw(st.sampled_from(paths(told))), data.draw(junk))
    body = json.dumps(told).encode()

    event = deliver(row, tmp_path_factory.getbasetemp(), body=body, headers=resigned(row, body))

    assert event.status in (200, 202, 400)
    assert (event.status == 202) == bool(event.pushes or event.git_pushes)


def test_what_is_said_of_the_evidence_is_so() -> None:
    best: dict[tuple[str, str], str] = defaultdict(str)
    for row in ROWS.values():
        kind = "git" if row["sender"].endswith("-push") else "images"
        key = sender_of(row), kind
        best[key] = max(best[key], row["provenance"])  # "recorded" comes after "constructed"
    for name, sender in SENDERS.items():
        if sender.images is not None:
            assert sender.images == (best[name, "images"] or Evidence.NONE), name
        assert sender.git == (best[name, "git"] or None), name
