"""Events that a cloud's event service carries: CloudEvents, Event Grid, EventBridge, Pub/Sub."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from automator.edges.webhook.body import (
    dig,
    gather,
    host_of,
    images,
    needed_object,
    needed_text,
    parse,
    parse_base64,
    push,
    push_of_reference,
    text,
)
from automator.edges.webhook.ecrhosts import ecr_hosts
from automator.edges.webhook.event import Door, Found, MalformedBody, Push, Request, Word
from automator.edges.webhook.registries import azure_push

HANDSHAKE_ORIGIN = "webhook-request-origin"
_ORIGIN = re.compile(r"[A-Za-z0-9.:-]{1,255}", re.ASCII)
_BATCH = "application/cloudevents-batch+json"

_EVENT_GRID_VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"
_EVENT_GRID_PUSH = "Microsoft.ContainerRegistry.ImagePushed"
_LONGEST_VALIDATION_CODE = 512

_ECR_PUSH = "com.amazon.ecr.image.push"
_ECR_SOURCE = re.compile(r"(?:urn|arn):aws[a-z-]*:ecr:([a-z0-9-]+):([0-9]{12}):repository/(.+)", re.ASCII)

# The last word of a type that certainly is no push; what is left costs one look at a repository.
_OTHER_DEEDS = {"delete", "deleted", "pull", "pulled", "remove", "removed", "scan", "scanned", "untagged"}


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """What of a CloudEvent (specification 1.0) names an image."""

    type: str
    id: str | None
    source: str | None
    subject: str | None
    data: object


def cloud_events(request: Request) -> list[object]:
    """The events of a request in structured, batch or binary mode, to be read one by one.

    Raises MalformedBody.
    """
    body = parse(request.body)
    if "ce-specversion" in request.headers:
        told = {name.removeprefix("ce-"): value for name, value in request.headers.items()}
        return [{**told, "data": body}]
    is_batch = request.headers.get("content-type", "").partition(";")[0].strip().lower() == _BATCH
    return body if is_batch and isinstance(body, list) else [body]


def cloud_event(told: object) -> CloudEvent:
    """The event that is told. Raises MalformedBody."""
    needed_text(told, "specversion")
    encoded = text(told, "data_base64")
    return CloudEvent(
        needed_text(told, "type"),
        text(told, "id"),
        text(told, "source"),
        text(told, "subject"),
        parse_base64(encoded) if encoded else dig(told, "data"),
    )


def cloudevents(door: Door, request: Request) -> Found:
    """CloudEvents of anybody: `registry` and `repository` in the data, or in source and subject."""

    def read(told: object) -> Push | Word | None:
        event = cloud_event(told)
        if event.type.lower().replace("-", ".").rpartition(".")[2] in _OTHER_DEEDS:
            return Word.NOT_A_PUSH
        if event.type == _ECR_PUSH:
            return _ecr_push(door, event)
        name = text(event.data, "repository") or text(event.data, "repositoryName")
        return Word.UNSUPPORTED_TYPE if name is None else _named_push(door, event, name)

    return _gathered(cloud_events(request), read)


def _gathered(events: Sequence[object], read: Callable[[object], Push | Word | None]) -> Found:
    return gather(events, read, text(events[0], "id") if events else None)


def _named_push(door: Door, event: CloudEvent, name: str) -> Push | None:
    host = text(event.data, "registry") or text(event.data, "registryUrl") or event.source
    return push(
        door.registry or host_of(host),
        name,
        text(event.data, "tag") or text(event.data, "imageTag") or _tag_of(event.subject),
        text(event.data, "digest") or text(event.data, "imageDigest"),
    )


def handshake_origin(request: Request) -> str | None:
    """The origin that asks for leave to send, in the words of CloudEvents' webhook handshake."""
    origin = request.headers.get(HANDSHAKE_ORIGIN, "")
    return origin if _ORIGIN.fullmatch(origin) else None


def eventgrid(door: Door, request: Request) -> Found:
    """Azure Event Grid, in its own schema and as CloudEvents; answers the subscription's validation.

    The validation's URL is never fetched: whoever holds the secret gets its code back, no more.
    """
    body = parse(request.body)
    events = body if isinstance(body, list) else [body]
    for event in events:
        if (
            text(event, "eventType") == _EVENT_GRID_VALIDATION
            or text(event, "type") == _EVENT_GRID_VALIDATION
        ):
            code = needed_text(event, "data", "validationCode")
            if len(code) > _LONGEST_VALIDATION_CODE:
                raise MalformedBody
            answer = json.dumps({"validationResponse": code}).encode()
            return Found(Word.HANDSHAKE, answer=answer, delivery=text(event, "id"))

    def read(event: object) -> Push | Word | None:
        kind = text(event, "eventType") or needed_text(event, "type")
        return azure_push(door, needed_object(event, "data")) if kind == _EVENT_GRID_PUSH else Word.NOT_A_PUSH

    return _gathered(events, read)


def ecr(door: Door, request: Request) -> Found:
    """Amazon ECR: the event of EventBridge as it is, or made into a CloudEvent by a rule.

    A message of SNS is no such event: its signature's certificate would have to be fetched.
    """
    if "ce-specversion" in request.headers or text(parse(request.body), "specversion"):

        def read(told: object) -> Push | Word | None:
            event = cloud_event(told)
            return _ecr_push(door, event) if event.type == _ECR_PUSH else Word.NOT_A_PUSH

        return _gathered(cloud_events(request), read)
    body = needed_object(parse(request.body))
    delivery = text(body, "id")
    if text(body, "source") != "aws.ecr":
        return Found(Word.UNSUPPORTED_TYPE, delivery=delivery)
    is_push = (
        text(body, "detail-type") == "ECR Image Action"
        and text(body, "detail", "action-type") == "PUSH"
        and text(body, "detail", "result") == "SUCCESS"
    )
    if not is_push:
        return Found(Word.NOT_A_PUSH, delivery=delivery)
    one = push(
        door.registry or _ecr_host(needed_text(body, "account"), needed_text(body, "region")),
        needed_text(body, "detail", "repository-name"),
        text(body, "detail", "image-tag"),
        text(body, "detail", "image-digest"),
    )
    return images([one], delivery)


def _ecr_push(door: Door, event: CloudEvent) -> Push | None:
    source = _ECR_SOURCE.fullmatch(event.source or "")
    if source is None:
        raise MalformedBody
    region, account, repository = source.groups()
    subject = (event.subject or "").partition(":")[0]
    return push(
        door.registry or _ecr_host(text(event.data, "registryId") or account, region),
        text(event.data, "repositoryName") or subject or repository,
        text(event.data, "imageTag") or _tag_of(event.subject),
        text(event.data, "imageDigest"),
    )


def _ecr_host(account: str, region: str) -> str:
    """The host that ECR itself names first; `ecr_aliases` knows the others."""
    hosts = ecr_hosts(account, region)
    if not hosts:
        raise MalformedBody
    return hosts[0]


def gar(door: Door, request: Request) -> Found:
    """Google Artifact Registry (and gcr.io) through a push subscription of Pub/Sub."""
    body = parse(request.body)
    delivery = text(body, "message", "messageId")
    told = parse_base64(needed_text(body, "message", "data"))
    if needed_text(told, "action") != "INSERT":
        return Found(Word.NOT_A_PUSH, delivery=delivery)
    tagged, exact = text(told, "tag"), text(told, "digest")
    if not tagged and not exact:
        raise MalformedBody
    named = push_of_reference(tagged or exact or "")
    if named is None:
        return Found(Word.UNUSABLE_NAME, delivery=delivery)
    one = push(
        door.registry or named.repository.registry,
        named.repository.path,
        named.tag,
        (exact or "").rpartition("@")[2],
    )
    return images([one], delivery)


def _tag_of(subject: str | None) -> str | None:
    """`1.4.3` of the subject `acme/web:1.4.3`."""
    tag = (subject or "").rpartition(":")[2]
    return tag if tag != subject and "/" not in tag else None
