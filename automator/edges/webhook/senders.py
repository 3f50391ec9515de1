"""The table of senders: how each proves itself, who reads its body, and how well that is proved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from automator.edges.webhook import clouds, forges, registries
from automator.edges.webhook.event import Door, Found, Request
from automator.edges.webhook.proof import Check, SharedSecret, Signature, signed_or_secret

Adapter = Callable[[Door, Request], Found]


class Evidence(StrEnum):
    """What stands behind an adapter: the best payload that it was tested with."""

    RECORDED = "recorded"
    CONSTRUCTED = "constructed"
    """Made from the sender's documentation or source, never seen on a wire."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Sender:
    """One kind of sender."""

    title: str
    adapter: Adapter
    check: Check | None
    """How the secret proves the sender; None where a signed token does."""
    proof: str
    """The same in words, for the documentation."""
    delivery: str | None = None
    """Lower-case header of the delivery's number, where it is no part of the body."""
    images: Evidence | None = Evidence.RECORDED
    """For events of images; None where it has none."""
    git: Evidence | None = None
    """For pushes of Git; None where it has none."""
    handshake: bool = False
    """It asks by OPTIONS whether it may send."""

    @property
    def proven(self) -> bool:
        """Whether each kind of its events was tested with a recorded payload."""
        return {self.images, self.git} <= {None, Evidence.RECORDED}


_URL = SharedSecret(in_query=True)
_AUTHORIZATION = SharedSecret("authorization")
_OWN_HEADER = SharedSecret("x-webhook-secret", in_query=True)

_IN_URL = "`?secret=` in the URL, or the header that `header` names"
_IN_AUTHORIZATION = "`Authorization`, or the header that `header` names"
_IN_OWN_HEADER = "`X-Webhook-Secret`, or the header that `header` names, or `?secret=`"

SENDERS: Mapping[str, Sender] = MappingProxyType(
    {
        "acr": Sender(
            "Azure Container Registry", registries.acr, _AUTHORIZATION, _IN_AUTHORIZATION
        ),
        "alibaba": Sender(
            "Alibaba Cloud Container Registry", registries.alibaba, _URL, _IN_URL
        ),
        "artifactory": Sender(
            "JFrog Artifactory",
            registries.artifactory,
            SharedSecret("x-jfrog-event-auth"),
            "`X-JFrog-Event-Auth`: the secret, or with `signed` the HMAC-SHA256 of the body",
            images=Evidence.CONSTRUCTED,
        ),
        "bitbucket": Sender(
            "Bitbucket Cloud and Data Center",
            forges.bitbucket,
            Signature("x-hub-signature", "sha256="),
            "`X-Hub-Signature`: HMAC-SHA256 of the body",
            delivery="x-request-uuid",
            images=None,
            git=Evidence.RECORDED,
        ),
        "cloudevents": Sender(
            "CloudEvents", clouds.cloudevents, _OWN_HEADER, _IN_OWN_HEADER, handshake=True
        ),
        "distribution": Sender(
            "CNCF Distribution (docker-registry)", registries.distribution, _AUTHORIZATION, _IN_AUTHORIZATION
        ),
        "dockerhub": Sender(
            "Docker Hub", registries.dockerhub, _URL, _IN_URL
        ),
        "ecr": Sender(
            "Amazon ECR (EventBridge)", clouds.ecr, _OWN_HEADER, _IN_OWN_HEADER, handshake=True
        ),
        "eventgrid": Sender(
            "Azure Event Grid", clouds.eventgrid, _URL, _IN_URL, images=Evidence.CONSTRUCTED, handshake=True
        ),
        "forgejo": Sender(
            "Forgejo",
            forges.gitea,
            Signature("x-forgejo-signature"),
            "`X-Forgejo-Signature`: HMAC-SHA256 of the body",
            delivery="x-forgejo-delivery",
            images=Evidence.CONSTRUCTED,
            git=Evidence.CONSTRUCTED,
        ),
        "gar": Sender(
            "Google Artifact Registry (Pub/Sub)",
            clouds.gar,
            None,
            "`Authorization`: a token that Google signs for the service account `email` and `audience`",
        ),
        "generic": Sender(
            "Generic (a CI job)",
            registries.generic,
            signed_or_secret,
            "`X-Signature: sha256=` and the HMAC-SHA256 of the body, or the secret in `Authorization` or the "
            "header that `header` names",
            images=Evidence.NONE,
        ),
        "gitea": Sender(
            "Gitea",
            forges.gitea,
            Signature("x-gitea-signature"),
            "`X-Gitea-Signature`: HMAC-SHA256 of the body",
            delivery="x-gitea-delivery",
            images=Evidence.CONSTRUCTED,
            git=Evidence.RECORDED,
        ),
        "github": Sender(
            "GitHub",
            forges.github,
            Signature("x-hub-signature-256", "sha256="),
            "`X-Hub-Signature-256`: HMAC-SHA256 of the body",
            delivery="x-github-delivery",
            git=Evidence.RECORDED,
        ),
        "gitlab": Sender(
            "GitLab",
            forges.gitlab,
            SharedSecret("authorization", fixed="x-gitlab-token"),
            "hooks: `X-Gitlab-Token`; registry: `Authorization`, or the header that `header` names",
            delivery="x-gitlab-event-uuid",
            images=Evidence.CONSTRUCTED,
            git=Evidence.RECORDED,
        ),
        "harbor": Sender(
            "Harbor", registries.harbor, _AUTHORIZATION, _IN_AUTHORIZATION
        ),
        "nexus": Sender(
            "Sonatype Nexus",
            registries.nexus,
            Signature("x-nexus-webhook-signature", algorithm="sha1", compact=True),
            "`X-Nexus-Webhook-Signature`: HMAC-SHA1 of the body",
            delivery="x-nexus-webhook-delivery",
        ),
        "quay": Sender(
            "Quay", registries.quay, _URL, _IN_URL
        ),
    }
)  # fmt: skip
