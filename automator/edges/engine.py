"""Docker engines: which containers there are, of which image, and how they are.

What belongs here: the docker package, which knows the engine's API, over sessions of `edges.http`, which know
time and size limits. Nothing but GET ever leaves: whatever else the package can do is refused on the way.
Podman's service speaks the same API. https://docs.docker.com/reference/api/engine/ tells what is read.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import requests

from automator.core.reference import DIGEST, Reference, parse_reference
from automator.core.running import Observation, Running
from automator.edges.http import Limits, TransportError, Trust, TrustError, new_session, send
from automator.errors import InvalidReference, RuntimeTrouble
from automator.reasons import Reason, one_line, reason

BODY_LIMIT = 32 << 20
"""Bytes of one answer; a thousand containers are about two million."""
PROJECT, SERVICE, ONE_OFF = (
    "com.docker.compose.project",
    "com.docker.compose.service",
    "com.docker.compose.oneoff",
)
RECENT = timedelta(minutes=5)
"""How long a container that was started again has to run before it is believed."""
FALLING = timedelta(minutes=2)
"""How long one that falls again and again is taken to fall still: an engine waits a minute at the most before
it starts one again, and hardly ever is seen to."""
FALLS = 3
"""Starts after the first one from which on it is no accident."""
_STOPPED = frozenset({0, 137, 143})
"""Exit codes of what somebody stopped."""
_MENDING = frozenset({"always", "unless-stopped", "on-failure"})
"""Restart policies of what is meant to run for good."""
_LONG_SECONDS = re.compile(r"(\.\d{6})\d+")
"""They write nine digits of a second, and Python reads six."""
_AT_WORK = frozenset({"created", "running", "restarting", "paused", "configured", "initialized"})
"""States of what runs, or is about to: Docker's, and Podman's words for created."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How one engine is asked."""

    name: str
    """The runtime's, as the config calls it."""
    host: str
    """unix:///path or tcp://host:port."""
    project: str | None = None
    """Only of this Compose project."""
    ca_file: str | None = None
    """With it the engine is spoken to by TLS."""
    client_cert_file: str | None = None
    client_key_file: str | None = None
    seconds: float = 20.0
    """For one look as a whole."""


class Engine:
    """One Docker engine, read-only. For several threads."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings

    @property
    def name(self) -> str:
        return self._settings.name

    def observe(self, now: datetime) -> Observation:
        """The containers that run there, or are meant to.

        Raises RuntimeTrouble: `engine/unreachable`, `engine/refused`, `engine/bad-answer`, `engine/files`.
        """
        from docker.errors import APIError, DockerException  # the package is slow to import

        try:
            return Observation(self.name, now, self._running(now))
        except TrustError as error:
            raise RuntimeTrouble(self._reason("engine/files", problem=error)) from error
        except APIError as error:
            status = error.status_code or "an error"
            words = one_line(error.explanation or "without a word")
            raise RuntimeTrouble(self._reason("engine/refused", status=status, words=words)) from error
        except (DockerException, TransportError, requests.RequestException) as error:
            raise self._trouble(error) from error
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
            # Whatever answers there, it is no engine.
            problem = f"{type(error).__name__}: {error}"
            raise RuntimeTrouble(self._reason("engine/bad-answer", problem=problem)) from error

    def _trouble(self, error: BaseException) -> RuntimeTrouble:
        """What the package wrapped, once or several times."""
        found: BaseException | None = error
        while found is not None and not isinstance(found, TransportError):
            found = found.__cause__ or found.__context__
        if found is None:
            return RuntimeTrouble(self._reason("engine/bad-answer", problem=error))
        return RuntimeTrouble(self._reason("engine/unreachable", problem=found.detail))

    def _reason(self, code: str, **told: object) -> Reason:
        short = {key: one_line(value) for key, value in told.items()}
        return reason(code, changes_at=None, runtime=self.name, host=self._settings.host, **short)

    def _running(self, now: datetime) -> tuple[Running, ...]:
        ends_at = time.monotonic() + self._settings.seconds
        client = read_only_client(self._settings, ends_at)
        try:
            filters = {"label": [f"{PROJECT}={self._settings.project}"]} if self._settings.project else None
            found = [
                container
                for one in client.containers(all=True, filters=filters)
                if not _is_one_off(one) and (container := _inspected(client, str(one["Id"]))) is not None
            ]
            images = {str(image["Id"]): image for image in client.images(all=True)} if found else {}
        finally:
            client.close()
        return tuple(_as_running(one, images, now) for one in _meant(found))


# -- the client ------------------------------------------------------------------------------------------


def read_only_client(settings: EngineSettings, ends_at: float) -> Any:
    """The docker package's client, over our own session, which ends at a time and sends nothing but GET."""
    from docker import APIClient
    from docker.errors import APIError

    with_tls = settings.ca_file is not None
    path = settings.host.removeprefix("unix://") if settings.host.startswith("unix://") else None
    trust = (
        Trust(settings.ca_file, True, settings.client_cert_file, settings.client_key_file)
        if with_tls
        else None
    )
    session = new_session(pool_size=1, trust=trust, socket_path=path)

    class ReadOnly(APIClient):  # type: ignore[misc]
        """Sends GET, and that by `edges.http`: the package's own way knows no end of an answer, follows
        redirects, and takes proxies and passwords from the environment."""

        def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
            if request.method != "GET":
                raise PermissionError(f"{request.method} is not for us: an engine is only looked at")
            url = str(request.url).replace("http+docker://", "http://", 1)
            left = max(0.0, ends_at - time.monotonic())
            answer = send(
                session,
                "GET",
                url,
                headers={"Accept": "application/json"},
                limits=Limits(left, left, ends_at, BODY_LIMIT),
            )
            made = requests.Response()
            made.status_code, made.url, made.request = answer.status, answer.url, request
            made.headers.update(answer.headers)
            made._content = answer.body
            if answer.status // 100 == 3:
                raise APIError("a redirect", made, "it sends us elsewhere")
            return made

        def close(self) -> None:
            session.close()
            super().close()

    try:
        return ReadOnly(base_url=settings.host, version="auto", tls=with_tls)
    except BaseException:
        session.close()
        raise


# -- what it answers ---------------------------------------------------------------------------------------


def _is_one_off(listed: Mapping[str, Any]) -> bool:
    """Whether `compose run` made it for one command: that is not meant to stay."""
    return str((listed.get("Labels") or {}).get(ONE_OFF, "")).lower() == "true"


def _inspected(client: Any, container: str) -> _Container | None:
    """All of one container; None where it is gone meanwhile."""
    from docker.errors import NotFound

    try:
        return _read(client.inspect_container(container))
    except NotFound:
        return None


@dataclass(frozen=True, slots=True)
class _Container:
    """What is read of one container."""

    name: str
    project: str
    service: str
    image: str
    """As it was asked for when the container was made."""
    image_id: str
    state: str
    health: str
    """healthy, unhealthy, starting; empty where nobody checks."""
    exit_code: int
    words: str
    """Why it could not be started."""
    killed: bool
    """It took more memory than it may."""
    policy: str
    started: datetime | None
    created: datetime | None
    restarts: int = 0
    """How often it was started again by its policy."""

    @property
    def since(self) -> datetime | None:
        """When it began: one that is started again runs the same as before."""
        return self.created if self.restarts and self.created is not None else self.started

    def fell_lately(self, now: datetime, within: timedelta = RECENT) -> bool:
        """Whether it was started again a short while ago, or cannot be told when. The engine's clock may be
        before ours."""
        return self.restarts > 0 and (self.started is None or abs(now - self.started) < within)

    @property
    def is_at_work(self) -> bool:
        return self.state in _AT_WORK

    @property
    def is_meant_to_run(self) -> bool:
        return self.is_at_work or self.policy in _MENDING

    @property
    def of(self) -> tuple[str, str]:
        """What it is a container of: a service, or itself."""
        return (self.project, self.service) if self.service else ("", self.name)


def _read(told: Mapping[str, Any]) -> _Container:
    config, state = told["Config"], told["State"]
    labels = config.get("Labels") or {}
    health = state.get("Health") or state.get("Healthcheck") or {}
    policy = ((told.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name")
    words = str(state.get("Status") or "").lower()
    return _Container(
        one_line(str(told["Name"]).lstrip("/")),
        one_line(labels.get(PROJECT) or ""),
        one_line(labels.get(SERVICE) or ""),
        str(config["Image"]),
        str(told["Image"]),
        "restarting" if state.get("Restarting") else words,
        str(health.get("Status") or "").lower().replace("none", ""),
        int(state.get("ExitCode") or 0),
        one_line(state.get("Error") or ""),
        bool(state.get("OOMKilled")),
        str(policy or "no"),
        _time(state.get("StartedAt")) or _time(told.get("Created")),
        _time(told.get("Created")),
        int(told.get("RestartCount") or 0),
    )


def _time(text: object) -> datetime | None:
    """A time as engines write it; None for the year 1, which means never."""
    try:
        whole, _, rest = str(text).partition(".")
        digits = len(rest) - len(rest.lstrip("0123456789"))
        found = datetime.fromisoformat(
            whole + (f".{rest[: min(digits, 6)]}{rest[digits:]}" if digits else "")
        )
    except ValueError:
        return None
    return found if found.year > 1 and found.tzinfo is not None else None


def _meant(found: Iterable[_Container]) -> list[_Container]:
    """Without what has ended and is of no account any more: jobs that are done, and what a newer container
    of the same service has taken the place of."""
    every = tuple(found)
    at_work = {one.of for one in every if one.is_at_work}
    kept = [one for one in every if one.is_at_work or (one.is_meant_to_run and one.of not in at_work)]
    meant = {one.of for one in kept}
    # A service whose only container has ended, such as a migration, is what Compose started last.
    return [*kept, *(one for one in every if one.service and one.of not in meant)]


def _as_running(one: _Container, images: Mapping[str, Mapping[str, Any]], now: datetime) -> Running:
    image = images.get(one.image_id) or images.get(f"sha256:{one.image_id}") or {}
    reference = _reference(one.image, image)
    is_well = one.state == "running" and one.health in ("", "healthy")
    trouble, hindrance = _troubles(one, now)
    return Running(
        "service" if one.service else "container",
        "",
        one.service or one.name,
        one.name,
        reference,
        _digest(reference, image),
        wanted=int(one.is_meant_to_run),
        ready=int(is_well and not one.fell_lately(now)),
        settled=True if is_well else None if not one.is_at_work else False,
        trouble=trouble,
        since=one.since,
        project=one.project,
        hindrance=hindrance,
        restarts=one.restarts,
    )


def _troubles(one: _Container, now: datetime) -> tuple[str | None, str | None]:
    """What is wrong with a container itself, and what may be the engine's doing, or a person's."""
    ended = "it took more memory than it may" if one.killed else f"it ended with exit code {one.exit_code}"
    match one.state, one.health:
        case "restarting", _:
            return f"it is started again and again: {one.words or ended}", None
        case "running", "unhealthy":
            return "its health check fails", None
        case "running", _ if (
            one.restarts >= FALLS and one.health != "healthy" and one.fell_lately(now, FALLING)
        ):
            return f"it was started again {one.restarts} times", None
        case "paused", _:
            return None, "it is paused"
        case "dead", _:
            return None, one.words or "it could not be removed"
        case (("exited" | "stopped"), _) if one.killed or (one.exit_code not in _STOPPED and not one.words):
            return ended, None
        case (("exited" | "stopped"), _) if one.exit_code and not one.words:
            return None, ended
    return None, one.words or None


def _reference(written: str, image: Mapping[str, Any]) -> str:
    """The image as it was asked for; where that was by its id, by the one name that it has."""
    digits = written.removeprefix("sha256:")
    if not (digits and str(image.get("Id", "")).removeprefix("sha256:").startswith(digits)):
        return one_line(written)
    names = [str(name) for name in image.get("RepoTags") or () if "<none>" not in str(name)]
    return one_line(names[0] if len(names) == 1 else written)


def _digest(reference: str, image: Mapping[str, Any]) -> str | None:
    """Under which digest it was pulled. Where the engine tells several of its repository, as of an index and
    of the part for this machine, only the one that was asked for is certain."""
    try:
        asked = parse_reference(reference)
    except InvalidReference:
        return None
    told = {each.digest for each in _pulled(image) if each.repository == asked.repository}
    if asked.digest in told:
        return asked.digest
    return told.pop() if len(told) == 1 else None


def _pulled(image: Mapping[str, Any]) -> Iterable[Reference]:
    for text in image.get("RepoDigests") or ():
        try:
            found = parse_reference(str(text))
        except InvalidReference:
            continue
        if found.digest is not None and DIGEST.fullmatch(found.digest):
            yield found
