"""A desk of values for pages and API: what they show is given, and what they ask for is written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from automator.core.delivery.change import Change, PolicyChange, Wanted
from automator.core.delivery.fate import NOT_SEEN, fates
from automator.core.delivery.figures import Period
from automator.core.delivery.summary import Summary, summarize
from automator.core.drift import Drift, DriftState
from automator.core.driftview import DriftView, RuntimeView, worst_first
from automator.core.explain import Verdict
from automator.core.policy import Place, Workload, parse_policies
from automator.core.record import Member
from automator.core.report import Outcome
from automator.core.view import (
    Chain,
    ChainEdge,
    ChainNode,
    DaemonView,
    Past,
    PolicyView,
    RegistryView,
    RepoView,
    SiteView,
    Verdicts,
    WorkloadView,
)
from automator.reasons import Reason, Status, reason

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOSTILE = '<script>alert("1")</script> \u202e & \' #12 @all'
"""Text as a stranger may write it."""

_POLICY = """
version: 1
defaults: {owner: team-shop, environment: production}
workloads:
  web:
    image: ghcr.io/acme/web
    semver: ">=1.4 <2"
    description: the shop's front
    after: {workload: staging/web, soak: 2h}
"""


def current(version: str) -> Reason:
    return reason("current/newest", current=version, count=3, rule='semver ">=1.4 <2"')


def outcome(
    name: str, status: Status = Status.CURRENT, why: Reason | None = None, **about: object
) -> Outcome:
    """An outcome of a workload that has an image of its own name."""
    told: dict[str, object] = {"owner": "team-shop", "environment": "production", "current": "1.4.2"}
    return Outcome(name, status, why or current("1.4.2"), f"ghcr.io/acme/{name}", **{**told, **about})  # type: ignore[arg-type]


def workloads(count: int = 3, repo: str = "shop") -> tuple[WorkloadView, ...]:
    """`web` that waits, `api` that failed with hostile words, and others that are current."""
    entry = parse_policies({"policies/shop.yaml": _POLICY}).workloads[0]
    assert isinstance(entry, Workload)
    wait = reason("guard/min-age", changes_at=NOON + HOUR, tag="1.4.3", age="30m", min_age="1h", at="13:00")
    web = outcome(
        *("web", Status.WAITING, wait),
        target="1.4.3",
        candidate="1.4.3",
        behind=2,
        behind_since=NOON - HOUR,
        sites=("apps/web.yaml#spec.image",),
    )
    refused = reason("push/refused", changes_at=NOON + HOUR, after="2.0.0", words=HOSTILE)
    api = outcome("api", Status.FAILED, refused, owner=HOSTILE, environment="staging")
    page = "https://git.example.com/acme/shop/web.yaml#L3"
    site = SiteView(
        "apps/web.yaml#spec.image", "1.4.2", page, file="apps/web.yaml", field="spec.image", line=3
    )
    rest = (outcome(f"w{n:05}", owner=None, environment=None) for n in range(max(0, count - 2)))
    return (
        WorkloadView(repo, api, None),
        *(WorkloadView(repo, one, None) for one in rest),
        WorkloadView(repo, web, entry, (site,), "https://git.example.com/acme/shop/policies/shop.yaml"),
    )


def change(number: int, *, kind: str = "release", workload: str = "web") -> Change:
    """A proven change, the higher its number the older."""
    member = Member(
        workload, f"ghcr.io/acme/{workload}", f"1.4.{number + 1}", f"1.4.{number + 2}", ("a.yaml#image",)
    )
    return Change(
        repo="shop",
        commit=f"{number:040x}",
        landed=NOON - number * HOUR,
        author="Ann",
        mail="ann@example.com",
        kind=kind,
        member=member,
        proven=True,
        made=NOON - number * HOUR - HOUR,
        merged_by="Bob",
        why=HOSTILE,
        owner="team-shop",
        environment="production",
        policy_change=PolicyChange("f" * 40, "Ann", NOON - 100 * HOUR),
    )


def chain() -> Chain:
    """staging/web goes before shop/web, which waits for it."""
    soak = reason(
        *("guard/soak",),
        changes_at=NOON + HOUR,
        version="1.4.3",
        upstream="staging/web",
        held="1h",
        soak="2h",
        at="13:00",
    )
    return Chain(
        (
            ChainNode("staging", "web", "current", "1.4.3", NOON - HOUR, "1.4.3 is the newest"),
            ChainNode("shop", "web", "waiting", "1.4.2", None, soak.sentence, "production"),
        ),
        (ChainEdge(("staging", "web"), ("shop", "web"), 2 * HOUR, "1.4.3", soak),),
    )


def drift(name: str, state: DriftState = DriftState.SAME, runtime: str = "production") -> Drift:
    """A workload at a runtime, where 1.4.2 is wanted."""
    runs = ("1.4.2",) if state is DriftState.SAME else () if state is DriftState.UNKNOWN else (HOSTILE,)
    told = {"place": f"Deployment shop/{name} [app]", "runtime": runtime}
    match state:
        case DriftState.SAME:
            why = reason("drift/same", changes_at=None, **told, wanted="1.4.2")
        case DriftState.UNKNOWN:
            why = reason("drift/unobserved", runtime=runtime, problem=HOSTILE)
        case _:
            why = reason("drift/late", changes_at=None, **told, runs=HOSTILE, wanted="1.4.2", told="")
    return Drift(name, runtime, state, "1.4.2", runs, NOON - HOUR, (told["place"],), why)


def runtimes(names: Sequence[str] = ("web", "api", "w00000")) -> tuple[RuntimeView, ...]:
    """`production`, where the first diverged, and `far`, which gives no answer."""
    states = [DriftState.DIVERGED, DriftState.PENDING]
    drifts = tuple(
        drift(name, states[number] if number < 2 else DriftState.SAME) for number, name in enumerate(names)
    )
    silent = reason(
        "engine/unreachable", runtime="far", host="tcp://engine.example.com:2376", problem=HOSTILE
    )
    minute = timedelta(minutes=1)
    return (
        RuntimeView("production", "kubernetes", "shop", minute, NOON, NOON, None, (), drifts),
        RuntimeView(
            *("far", "docker", "shop", minute, NOON, NOON - HOUR, silent),
            drifts=tuple(drift(name, DriftState.UNKNOWN, "far") for name in names[:1]),
        ),
    )


@dataclass
class StillDesk:
    """A `Desk` that shows the same all the time."""

    views: tuple[WorkloadView, ...] = field(default_factory=workloads)
    tags: int = 3
    changes: tuple[Change, ...] = field(default_factory=lambda: tuple(change(n) for n in range(5)))
    state: str = "ready"
    looks: list[tuple[str, str | None]] = field(default_factory=list)
    asked: list[Wanted] = field(default_factory=list)
    places: tuple[RuntimeView, ...] = field(default_factory=lambda: runtimes())
    process: DaemonView = field(default_factory=lambda: DaemonView("1.2.3", NOON - HOUR, NOON - HOUR))

    def now(self) -> datetime:
        return NOON

    def daemon(self) -> DaemonView:
        return self.process

    def repos(self) -> tuple[RepoView, ...]:
        first = RepoView(
            *("shop", "https://git.example.com/acme/shop.git", "main", "https://git.example.com/acme/shop"),
            *("write", "push", HOUR, "a" * 40, NOON - HOUR, NOON, "cycle shop: 1 waiting in 1.0 s"),
            running_since=NOON,
            warnings=(reason("file/submodule", file="vendor"),),
        )
        error = reason("git/unreachable", url="https://git.example.com/x", words=HOSTILE)
        return first, RepoView("lab", "/srv/lab.git", "main", None, "observe", "push", HOUR, error=error)

    def workloads(self) -> tuple[WorkloadView, ...]:
        return self.views

    def workload(self, repo: str, name: str) -> WorkloadView | None:
        return next((view for view in self.views if view.key == (repo, name)), None)

    def verdicts(self, repo: str, name: str) -> Verdicts | None:
        if name != "web":
            return None
        tags = (f"1.4.{n}" for n in range(self.tags, 0, -1))
        told = (Verdict(t, t, reason("tag/older", tag=t, current="1.4.2"), False) for t in tags)
        return Verdicts(tuple(told), NOON)

    def past(self, wanted: Wanted, *, repos: frozenset[str] = frozenset(), limit: int = 100) -> Past:
        self.asked.append(wanted)
        found = tuple(one for one in self.changes if wanted.takes(one))[:limit]
        return Past(self.state, found, NOON - 1000 * HOUR)  # type: ignore[arg-type]

    def summary(
        self, wanted: Wanted, *, repos: frozenset[str] = frozenset(), by: str = "workload"
    ) -> Summary | None:
        if self.state == "reading":
            return None
        period = Period(wanted.since or NOON - 90 * 24 * HOUR, wanted.until or NOON)
        return summarize(fates([(one, NOT_SEEN) for one in self.changes[::-1]]), period, by=by)

    def registries(self) -> tuple[RegistryView, ...]:
        late = reason("registry/not-asked", image="ghcr.io/acme/web")
        return (
            RegistryView("docker.io", True, 12, 87, 0.0, 0, NOON, None, 0, 4),
            RegistryView("ghcr.io", False, 3, None, 12.5, 2, None, late, 1, 1),
        )

    def policies(self) -> tuple[PolicyView, ...]:
        place = Place("policies/shop.yaml", 3)
        odd = reason("policy/no-upstream", place=place, missing=HOSTILE)
        return (PolicyView("shop", "policies/shop.yaml", None, ("api", "web"), (odd,), ()),)

    def chains(self) -> tuple[Chain, ...]:
        return (chain(),)

    def chain(self, repo: str, name: str) -> Chain | None:
        return next(
            (c for c in self.chains() if any((n.repo, n.name) == (repo, name) for n in c.nodes)), None
        )

    def runtimes(self) -> tuple[RuntimeView, ...]:
        return self.places

    def drifts(self) -> tuple[DriftView, ...]:
        every = (DriftView(p.repo, one, "team-shop", "production") for p in self.places for one in p.drifts)
        return worst_first(every)

    def drifts_of(self, repo: str, name: str) -> tuple[DriftView, ...]:
        return tuple(v for v in self.drifts() if (v.repo, v.drift.workload) == (repo, name))

    def look(self, repo: str, name: str | None = None) -> bool:
        self.looks.append((repo, name))
        return True
