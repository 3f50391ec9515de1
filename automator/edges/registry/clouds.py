"""Clouds: credentials that a cloud gives to the process it runs.

What belongs here: the login at Amazon's, Microsoft's and Google's registries with the identity of the
machine, pod or service account, and the keeping of what came of it. The three packages are extras,
imported when they are used. Sources: ECR `GetAuthorizationToken`; Azure Container Registry's
`/oauth2/exchange` (AAD-OAuth.md of Azure/acr); Artifact Registry, "Access token".
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from automator.edges import http
from automator.edges.registry import failures
from automator.edges.registry.credentials import Credential, Secret, normal_host, unusable
from automator.errors import RegistryError
from automator.reasons import Reason, one_line, reason

Cloud = Literal["aws", "azure", "google"]

SECONDS = 10.0
WORDS_LIMIT = 200
FAILURE_SECONDS = 30.0
FRESH_SECONDS = 10.0
LONGEST_LIFE = 12 * 3600.0
SHORTEST_LIFE = 60.0

PUBLIC_ECR = "public.ecr.aws"
PUBLIC_ECR_REGION = "us-east-1"  # the only one that gives tokens for it
_ECR = re.compile(
    r"\d{12}\.dkr[.-]ecr(?P<fips>-fips)?\.(?P<region>[a-z0-9-]+)\."
    r"(?:amazonaws\.(?:com(?:\.cn)?|eu)|on\.(?:aws|amazonwebservices\.(?:com\.cn|eu))"
    r"|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)",
    re.ASCII,
)
"""Registries of all partitions, with their dual-stack names."""
ECR_LIFE = 12 * 3600.0

_GOOGLE = re.compile(r"(?:[a-z0-9-]+\.)*(?:pkg\.dev|gcr\.io)", re.ASCII)
GOOGLE_USER = "oauth2accesstoken"
GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
GOOGLE_LIFE = 3600.0

_AZURE = re.compile(r"(?:[a-z0-9-]+\.)+azurecr\.(?:io|cn|us)", re.ASCII)
AZURE_USER = "00000000-0000-0000-0000-000000000000"
AZURE_SCOPE = "https://containerregistry.azure.net/.default"
AZURE_LIFE = 3 * 3600.0
AZURE_ANSWER_LIMIT = 256 * 1024

EXTRAS = {"aws": "boto3", "azure": "azure-identity", "google": "google-auth"}


@dataclass(frozen=True, slots=True)
class Login:
    """What a cloud gave. `life`: seconds from now on for which it is good."""

    credential: Credential
    life: float
    words: str = field(default="")


@dataclass(frozen=True, slots=True)
class _Kept:
    login: Login | None
    at: float
    until: float
    failure: Reason | None = None


class CloudLogin:
    """The login with the identity that a cloud gives to this process: `aws`, `azure` or `google`.

    A login is kept until half of its life is over, or until the registry refuses it; not again within
    `fresh_seconds`. A failure is kept for 30 seconds. Threads that ask for one host at the same time
    share one login. `seconds` bounds each step at the cloud. `trust` and `outside` are for what is asked
    of the registry itself; the packages of the clouds look at the environment, as their users expect.
    `azure_hosts` are trusted as Azure's own wherever they are: stand-ins for it.
    """

    def __init__(
        self,
        cloud: Cloud,
        *,
        seconds: float = SECONDS,
        fresh_seconds: float = FRESH_SECONDS,
        trust: http.Trust | None = None,
        outside: http.Outside | None = None,
        azure_hosts: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cloud: Cloud = cloud
        self._seconds = seconds
        self._fresh_seconds = fresh_seconds
        self._trust = trust or http.Trust()
        self._outside = outside or http.Outside()
        self._azure_hosts = azure_hosts
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._asking: dict[str, threading.Lock] = {}

    def __repr__(self) -> str:
        return f"CloudLogin({self._cloud!r})"

    def find(self, host: str, path: str = "") -> Credential | None:
        """The same for every image of `host`.

        Raises RegistryError: `credentials/cloud-extra`, `credentials/cloud-host`, `credentials/cloud`.
        """
        host = normal_host(host)
        with self._lock:
            asking = self._asking.setdefault(host, threading.Lock())
        with asking:
            with self._lock:
                kept = self._kept.get(host)
            if kept is None or self._clock() >= kept.until:
                kept = self._log_in(host)
                with self._lock:
                    self._kept[host] = kept
        if kept.login is None:
            assert kept.failure is not None
            raise RegistryError(kept.failure, retry=kept.failure.code == "credentials/cloud")
        return kept.login.credential

    def forget(self, host: str) -> None:
        """Log in again for `host`, unless the login is so new that the next would be refused too."""
        host = normal_host(host)
        with self._lock:
            kept = self._kept.get(host)
            if kept is not None and self._clock() - kept.at >= self._fresh_seconds:
                del self._kept[host]

    def describe(self, host: str, path: str = "") -> str:
        """Which login was used for `host`, in words."""
        with self._lock:
            kept = self._kept.get(normal_host(host))
        if kept is None:
            return f"{self._cloud} login, not asked yet"
        if kept.failure is not None:
            return f"none: {kept.failure.sentence}"
        assert kept.login is not None
        return f"{self._cloud} login by {EXTRAS[self._cloud]}, {kept.login.words}"

    def _log_in(self, host: str) -> _Kept:
        try:
            login = self._ask(host)
            problem = unusable(login.credential)
            if problem is not None:
                raise _failed(self._cloud, host, f"of its answer {problem}")
        except RegistryError as e:
            now = self._clock()
            return _Kept(None, now, now + FAILURE_SECONDS, e.reason)
        now = self._clock()
        life = min(max(login.life, SHORTEST_LIFE), LONGEST_LIFE)
        return _Kept(login, now, now + life / 2)

    def _ask(self, host: str) -> Login:
        match self._cloud:
            case "aws":
                return _ask_aws(host, self._seconds)
            case "google":
                return _ask_google(host, self._seconds)
            case "azure":
                # The token opens every registry that the identity may read: it goes to Azure's own only.
                if not _AZURE.fullmatch(host) and host not in self._azure_hosts:
                    raise _no_host("azure", host)
                token = _azure_token(host, self._seconds)
                return self._exchange(host, token)

    # -- Azure: from the directory's token to the registry's own ------------------------------------

    def _exchange(self, host: str, token: str) -> Login:
        """The registry's refresh token for a token of the directory; it opens the token service."""
        url = f"https://{host}/oauth2/exchange"
        form = {"grant_type": "access_token", "service": host, "access_token": token}
        limits = http.Limits(
            self._seconds, self._seconds, time.monotonic() + 2 * self._seconds, AZURE_ANSWER_LIMIT
        )
        try:
            proxy = self._outside.proxy_for(url)
            with http.new_session(pool_size=1, trust=self._trust, proxy=proxy) as session:
                rule = None if host in self._azure_hosts else http.is_elsewhere  # a private link is private
                answer = http.send(session, "POST", url, headers={}, limits=limits, allowed=rule, data=form)
        except (http.TransportError, http.TrustError) as e:
            words = e.detail if isinstance(e, http.TransportError) else e
            raise _failed("azure", host, f"/oauth2/exchange: {words}") from e
        if answer.status != 200:
            raise _failed("azure", host, f"/oauth2/exchange answers {failures.told(answer)}")
        try:
            told = json.loads(answer.body)
        except (ValueError, RecursionError):
            told = None  # not chained: it may quote the token
        secret = told.get("refresh_token") if isinstance(told, dict) else None
        if not isinstance(secret, str) or not secret:
            raise _failed("azure", host, "/oauth2/exchange answers without a refresh token")
        return Login(
            Credential(AZURE_USER, secret, Secret.IDENTITY), AZURE_LIFE, "exchanged for a refresh token"
        )


def _failed(cloud: Cloud, host: str, problem: object) -> RegistryError:
    return RegistryError(
        reason("credentials/cloud", cloud=cloud, host=host, problem=one_line(problem, WORDS_LIMIT))
    )


def _no_host(cloud: Cloud, host: str) -> RegistryError:
    return RegistryError(reason("credentials/cloud-host", cloud=cloud, host=host), retry=False)


@contextmanager
def _failing(cloud: Cloud, host: str, own: type[Exception] | tuple[type[Exception], ...]) -> Iterator[None]:
    """Turns whatever a package raises into a sentence; only what its `own` errors say is quoted."""
    try:
        yield
    except own as e:
        raise _failed(cloud, host, e) from e
    except OSError as e:
        words = e.strerror or "it cannot be reached"
        raise _failed(cloud, host, f"{e.filename}: {words}" if e.filename else words) from None
    except Exception as e:  # noqa: BLE001 - the packages let errors of parsing, keys and attributes through
        # Neither quoted nor chained: such an error may carry the text that holds the secret.
        problem = f"{EXTRAS[cloud]} ends with {type(e).__name__}, so what it read makes no sense to it"
        raise _failed(cloud, host, problem) from None


@contextmanager
def _extra(cloud: Cloud, host: str) -> Iterator[None]:
    """Turns a missing package into a sentence that names the extra."""
    try:
        yield
    except ImportError as e:
        package = EXTRAS[cloud]
        raise RegistryError(
            reason("credentials/cloud-extra", cloud=cloud, host=host, package=package), retry=False
        ) from e


# -- Amazon -----------------------------------------------------------------------------------------


def _ask_aws(host: str, seconds: float) -> Login:
    service, region, fips = _aws_place(host)
    with _extra("aws", host):
        import botocore.session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    config = Config(
        connect_timeout=min(5.0, seconds),
        read_timeout=seconds,
        retries={"total_max_attempts": 2, "mode": "standard"},
        use_fips_endpoint=fips,
    )
    with _failing("aws", host, (BotoCoreError, ClientError)):
        session = botocore.session.get_session()
        # The bounds also hold for the calls by which it finds its own credentials.
        session.set_default_client_config(Config(connect_timeout=min(5.0, seconds), read_timeout=seconds))
        client = session.create_client(service, region_name=region, config=config)
        try:
            told = client.get_authorization_token()["authorizationData"]
        finally:
            client.close()
    data = told[0] if isinstance(told, list) and told else told
    try:
        username, _, secret = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    except (KeyError, TypeError, ValueError):
        secret = username = ""  # not chained: it may quote the token
    if not secret:
        raise _failed("aws", host, "its answer holds no token")
    return Login(Credential(username, secret), _life(data.get("expiresAt"), ECR_LIFE), f"user {username}")


def _aws_place(host: str) -> tuple[str, str, bool]:
    """Service, region, and whether it is a FIPS endpoint, of an ECR registry's host name."""
    if host == PUBLIC_ECR:
        return "ecr-public", PUBLIC_ECR_REGION, False
    match = _ECR.fullmatch(host)
    if match is None:
        raise _no_host("aws", host)
    return "ecr", match["region"], match["fips"] is not None


# -- Google -----------------------------------------------------------------------------------------


def _ask_google(host: str, seconds: float) -> Login:
    # The token opens more than registries: it goes to Google's own hosts only.
    if not _GOOGLE.fullmatch(host):
        raise _no_host("google", host)
    with _extra("google", host):
        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request
    ask: Any = partial(Request(), timeout=seconds)  # its own limit is 120 seconds
    with _failing("google", host, GoogleAuthError):
        identity, _ = google.auth.default(scopes=[GOOGLE_SCOPE], request=ask)
        identity.refresh(ask)  # type: ignore[no-untyped-call]
    if not isinstance(identity.token, str) or not identity.token:
        raise _failed("google", host, "its answer holds no token")
    expiry = identity.expiry  # UTC without saying so
    at = None if expiry is None else expiry.replace(tzinfo=UTC)
    return Login(Credential(GOOGLE_USER, identity.token), _life(at, GOOGLE_LIFE), f"user {GOOGLE_USER}")


# -- Microsoft --------------------------------------------------------------------------------------


def _azure_token(host: str, seconds: float) -> str:
    """The directory's token for container registries, of the identity that the environment names."""
    with _extra("azure", host):
        from azure.core.exceptions import AzureError
        from azure.identity import DefaultAzureCredential
    with _failing("azure", host, AzureError):
        identity = DefaultAzureCredential(
            # A developer's tools and browsers are no identity of a daemon, and each is a program to start.
            exclude_cli_credential=True,
            exclude_developer_cli_credential=True,
            exclude_powershell_credential=True,
            exclude_shared_token_cache_credential=True,
            exclude_visual_studio_code_credential=True,
            exclude_broker_credential=True,
            connection_timeout=min(5.0, seconds),
            read_timeout=seconds,
            retry_total=1,
        )
        with identity:
            return identity.get_token(AZURE_SCOPE).token


def _life(expires_at: object, otherwise: float) -> float:
    if not isinstance(expires_at, datetime) or expires_at.tzinfo is None:
        return otherwise
    return expires_at.timestamp() - time.time()
