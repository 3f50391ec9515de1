"""What a registry warns of is told to the operator: once, and cut to one line."""

from __future__ import annotations

from datetime import UTC, datetime

from parts.registry import HostileServer, always, json_reply

from automator.app import registry_client
from automator.config import Config
from automator.core.reference import Repository
from automator.reasons import Reason


def test_a_warning_header_is_told_once_and_in_one_line() -> None:
    told: list[Reason] = []
    answer = json_reply({"name": "a", "tags": ["1"]}, Warning='299 - "this API\tends in May"')
    with HostileServer(always(answer)) as server:
        client = registry_client(Config(registries={server.host: {"insecure": True}}), warn=told.append)
        for path in ("acme/web", "acme/api"):
            client.tags(Repository(server.host, path), now=datetime(2026, 11, 21, tzinfo=UTC))
        client.close()
    (why,) = told
    assert why.code == "registry/warning"
    assert server.host in why.sentence
    assert "this API ends in May" in why.sentence
