"""Events that a cloud's event service carries: CloudEvents, Event Grid, EventBridge, Pub/Sub."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from automator.edges.webhook.body import (
    dig,
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
_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
_REGION = re.compile(r"[a-z0-9-]{1,40}", re.ASCII)

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


def cloud_events(request: Request) -> list[CloudEvent]:
    """The events of a request in structured, batch or binary mode. Raises MalformedBody."""
    body = parse(request.body)
    if "ce-specversion" in request.headers:
        told = {name.removeprefix("ce-"): value for name, value in request.headers.items()}
        return [_cloud_event({**told, "data": body})]
    is_batch = request.headers.get("content-type", "").partition(";")[0].strip().lower() == _BATCH
    if is_batch and isinstance(body, list):
        return [_cloud_event(one) for one in body]
    return [_cloud_event(body)]


def _cloud_event(told: object) -> CloudEvent:
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
    events = cloud_events(request)
    found: list[Push | None] = []
    other: Word | None = None
    for event in events:
        if event.type.lower().replace("-", ".").rpartition(".")[2] in _OTHER_DEEDS:
            other = Word.NOT_A_PUSH
        elif event.type == _ECR_PUSH:
            found.append(_ecr_push(door, event))
        elif (name := text(event.data, "repository") or text(event.data, "repositoryName")) is None:
            other = Word.UNSUPPORTED_TYPE
        else:
            found.append(_named_push(door, event, name))
    delivery = events[0].id if events else None
    if not found and other:
        return Found(other, delivery=delivery)
    return images(found, delivery)


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
    found: list[Push | None] = []
    for event in events:
        kind = text(event, "eventType") or needed_text(event, "type")
        if kind == _EVENT_GRID_VALIDATION:
            code = needed_text(event, "data", "validationCode")
            if len(code) > _LONGEST_VALIDATION_CODE:
                raise MalformedBody
            answer = json.dumps({"validationResponse": code}).encode()
            return Found(Word.HANDSHAKE, answer=answer, delivery=text(event, "id"))
        if kind == _EVENT_GRID_PUSH:
            found.append(azure_push(door, needed_object(event, "data")))
    return images(found, text(events[0], "id") if events else None)


def ecr(door: Door, request: Request) -> Found:
    """Amazon ECR: the event of EventBridge as it is, or made into a CloudEvent by a rule.

    A message of SNS is no such event: its signature's certificate would have to be fetched.
    """
    if "ce-specversion" in request.headers or text(parse(request.body), "specversion"):
        events = cloud_events(request)
        pushes = [_ecr_push(door, event) for event in events if event.type == _ECR_PUSH]
        return images(pushes, events[0].id if events else None)
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
    if not _ACCOUNT.fullmatch(account) or not _REGION.fullmatch(region):
        raise MalformedBody
    suffix = ".cn" if region.startswith("cn-") else ""
    return f"{account}.dkr.ecr.{region}.amazonaws.com{suffix}"


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
