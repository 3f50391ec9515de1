"""A fleet of workloads as a shop may have it: in every state, in two environments, with a history."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from hashlib import sha1

from parts.desks import HOSTILE, HOUR, NOON, StillDesk, outcome

from automator.core.delivery.change import Change, PolicyChange, Wanted
from automator.core.delivery.fate import NOT_SEEN, fates
from automator.core.delivery.figures import Period
from automator.core.delivery.summary import Summary, summarize
from automator.core.explain import Verdict
from automator.core.policy import Place, Workload, parse_policies
from automator.core.record import Member
from automator.core.view import (
    Chain,
    ChainEdge,
    ChainNode,
    Past,
    PolicyView,
    RegistryView,
    RepoView,
    SiteView,
    Verdicts,
    WorkloadView,
)
from automator.reasons import Reason, Status, reason

DAY = 24 * HOUR
FORGE = "https://git.example.com/acme"
NAMES = ("web", "api", "worker", "search", "cart", "payments", "mail", "images", "edge", "cache")
OWNERS = ("team-shop", "team-data", "team-platform")


def _entry(name: str, environment: str) -> Workload:
    after = f"{{workload: staging/{name}, soak: 2h}}"
    text = (
        f"version: 1\nworkloads:\n  {name}:\n    image: ghcr.io/acme/{name}\n    semver: '>=1.4 <2'\n"
        f"    description: what customers see of {name}\n    owner: {OWNERS[len(name) % 3]}\n"
        f"    environment: {environment}\n" + (f"    after: {after}\n" if environment == "production" else "")
    )
    found = parse_policies({f"policies/{name}.yaml": text}).workloads[0]
    assert isinstance(found, Workload)
    return found


def _state(name: str, environment: str) -> tuple[Status, Reason, dict[str, object]]:
    """What a workload of the fleet is doing, and how far behind it is."""
    coming: dict[str, object] = {
        "target": "1.5.0",
        "candidate": "1.5.0",
        "behind": 2,
        "behind_since": NOON - 3 * DAY,
    }
    longer = {**coming, "behind": 4, "behind_since": NOON - 9 * DAY}
    match environment, name:
        case "production", "web" | "api":
            told = {"version": "1.5.0", "upstream": f"staging/{name}", "held": "1h", "soak": "2h"}
            return (
                Status.WAITING,
                reason("guard/soak", changes_at=NOON + HOUR, at="13:00 UTC", **told),
                coming,
            )
        case "production", "payments":
            held = reason(
                "guard/hold",
                until="further notice",
                reason="the audit runs",
                place="policies/payments.yaml:9",
            )
            return Status.HELD, held, longer
        case "production", "mail":
            words = f"protected branch: {HOSTILE}"
            return (
                Status.FAILED,
                reason("push/refused", changes_at=NOON + HOUR, after="1.5.0", words=words),
                coming,
            )
        case "staging", "edge":
            return (
                Status.RELEASED,
                reason("released/pushed", before="1.4.2", after="1.5.0", commit="a" * 12),
                {"target": "1.5.0"},
            )
    return Status.CURRENT, reason("current/newest", current="1.4.2", count=37, rule='semver ">=1.4 <2"'), {}


def _view(name: str, environment: str) -> WorkloadView:
    status, why, more = _state(name, environment)
    repo = {"production": "shop", "staging": "staging"}[environment]
    about = {"owner": OWNERS[len(name) % 3], "environment": environment, **more}
    label = f"apps/{name}/deployment.yaml#spec.template.spec.containers[app].image"
    site = SiteView(label, "1.4.2", f"{FORGE}/{repo}/blob/{'a' * 40}/apps/{name}/deployment.yaml#L19")
    return WorkloadView(
        repo,
        outcome(name, status, why, **about),
        _entry(name, environment),
        (site,),
        f"{FORGE}/{repo}/blob/{'a' * 40}/policies/{name}.yaml#L3",
        f"{FORGE}/{repo}/commit/{'b' * 40}",
    )


def fleet() -> tuple[WorkloadView, ...]:
    """Twenty workloads, by config repo and name."""
    return tuple(_view(name, where) for where in ("production", "staging") for name in sorted(NAMES))


_PAST = (
    # hours ago, workload, environment, kind, before, after, why
    (1, "edge", "staging", "release", "1.4.2", "1.5.0", ""),
    (2, "web", "staging", "promote", "1.4.2", "1.5.0", "promoted from the lab"),
    (5, "api", "staging", "release", "1.4.2", "1.5.0", ""),
    (26, "search", "production", "rollback", "1.5.0", "1.4.2", "slow queries since 1.5.0"),
    (29, "search", "production", "release", "1.4.2", "1.5.0", ""),
    (50, "payments", "production", "hold", "", "", "the audit runs"),
    (75, "cart", "production", "revert", "1.4.3", "1.4.2", ""),
    (77, "cart", "production", "release", "1.4.2", "1.4.3", ""),
    (101, "images", "production", "manual", "1.4.1", "1.4.2", ""),
    *(
        (
            120 + 7 * n,
            NAMES[n % 10],
            "production" if n % 3 else "staging",
            "release",
            f"1.{n % 4}.{n % 5}",
            f"1.{n % 4}.{n % 5 + 1}",
            "",
        )
        for n in range(80)
    ),
)


def changes() -> tuple[Change, ...]:
    """What happened to them, newest first."""
    return tuple(_change(number, *row) for number, row in enumerate(_PAST))


def _commit(number: int) -> str:
    return sha1(str(number).encode()).hexdigest()


def _change(
    number: int, hours: int, name: str, where: str, kind: str, before: str, after: str, why: str
) -> Change:
    landed = NOON - hours * HOUR - timedelta(minutes=7 * number % 60)
    commit = _commit(number)
    return Change(
        repo={"production": "shop", "staging": "staging"}[where],
        commit=commit,
        landed=landed,
        author=("Ann Author", "automator", "Bob Builder")[number % 3],
        mail="ann@example.com",
        kind=kind,
        member=Member(
            name,
            f"ghcr.io/acme/{name}",
            before,
            after,
            ("a.yaml#image",),
            built=landed - (number % 9 + 1) * 5 * HOUR,
        ),
        proven=True,
        made=landed - HOUR if number % 4 == 0 else None,
        merged_by="Bob Builder" if number % 4 == 0 else None,
        pull_request=100 + number if number % 4 == 0 else None,
        actor="Ann Author" if kind in ("rollback", "hold", "promote") else None,
        reason=why or None,
        why="" if why else 'newest in semver ">=1.4 <2" of 37 tags, seen 31 minutes ago',
        reverts=_commit(number + 1) if kind == "revert" else None,
        owner=OWNERS[len(name) % 3],
        environment=where,
        policy_change=PolicyChange("f" * 40, "Ann Author", NOON - 100 * HOUR),
    )


def fleet_chains(views: tuple[WorkloadView, ...]) -> tuple[Chain, ...]:
    """Each workload of production comes after the one of staging; the edge after both of web's and api's."""
    found = {view.key: view for view in views}

    def node(repo: str, name: str) -> ChainNode:
        o = found[repo, name].outcome
        version = (
            "1.5.0"
            if (repo, name) in (("staging", "web"), ("staging", "api"), ("staging", "edge"))
            else o.current
        )
        return ChainNode(
            repo, name, o.status.value, version, NOON - 5 * HOUR, o.reason.sentence, o.environment
        )

    def edge(above: tuple[str, str], below: tuple[str, str]) -> ChainEdge:
        o = found[below].outcome
        moves = o.status in (Status.WAITING, Status.HELD, Status.FAILED)
        return ChainEdge(above, below, 2 * HOUR, o.candidate if moves else None, o.reason if moves else None)

    shop = Chain(
        (
            node("staging", "api"),
            node("staging", "web"),
            ChainNode("shop", "backend", "current", "1.4.2", None, "group of cart, search", "production"),
            node("shop", "api"),
            node("shop", "web"),
            node("shop", "edge"),
        ),
        (
            edge(("staging", "api"), ("shop", "api")),
            edge(("staging", "web"), ("shop", "web")),
            ChainEdge(("staging", "api"), ("shop", "backend"), DAY, None, None),
            edge(("shop", "api"), ("shop", "edge")),
            edge(("shop", "web"), ("shop", "edge")),
            ChainEdge(("staging", "web"), ("shop", "edge"), 4 * HOUR, None, None),
        ),
    )
    rest = tuple(
        Chain((node("staging", name), node("shop", name)), (edge(("staging", name), ("shop", name)),))
        for name in ("payments", "mail", "worker")
    )
    return (shop, *rest)


class FleetDesk(StillDesk):
    """A desk that shows the fleet."""

    def __init__(self, state: str = "ready") -> None:
        super().__init__(views=fleet(), tags=120, changes=changes(), state=state)

    def repos(self) -> tuple[RepoView, ...]:
        first, broken = super().repos()
        shop = replace(first, running_since=None, commits=f"{FORGE}/shop/commit/", changes_at=NOON + HOUR)
        place = "https://git.example.com/acme/staging.git"
        return shop, replace(shop, name="staging", place=place, page=f"{FORGE}/staging", warnings=()), broken

    def past(self, wanted: Wanted, *, repos: frozenset[str] = frozenset(), limit: int = 100) -> Past:
        whole = super().past(wanted, limit=len(self.changes))
        found = tuple(one for one in whole.changes if not repos or one.repo in repos)
        return replace(whole, changes=found[:limit])

    def chains(self) -> tuple[Chain, ...]:
        return fleet_chains(self.views)

    def verdicts(self, repo: str, name: str) -> Verdicts | None:
        older = (f"1.4.{n}" for n in range(self.tags, 2, -1))
        soak = self.views[-1].outcome.reason if name != "web" else self.views[9].outcome.reason
        told = (
            Verdict("1.5.0", "1.5.0", soak, False),
            Verdict("1.4.2", "1.4.2", reason("tag/current", tag="1.4.2"), True),
            *(Verdict(tag, tag, reason("tag/older", tag=tag, current="1.4.2"), False) for tag in older),
        )
        return Verdicts(told, NOON)

    def summary(
        self, wanted: object, *, repos: frozenset[str] = frozenset(), by: str = "workload"
    ) -> Summary | None:
        if self.state == "reading":
            return None
        oldest_first = [(one, NOT_SEEN) for one in self.changes[::-1]]
        return summarize(fates(oldest_first), Period(NOON - 90 * DAY, NOON), by=by)

    def registries(self) -> tuple[RegistryView, ...]:
        fine = RegistryView("quay.io", True, 210, None, 0.0, 0, NOON - HOUR / 60, None, 0, 6)
        return (*super().registries(), fine)

    def policies(self) -> tuple[PolicyView, ...]:
        odd = reason("policy/no-upstream", place=Place("policies/web.yaml", 3), missing="staging/webb")
        files = (
            PolicyView(
                "shop",
                f"policies/{name}.yaml",
                f"{FORGE}/shop/blob/main/policies/{name}.yaml",
                (name,),
                (),
                (odd,) if name == "web" else (),
            )
            for name in sorted(NAMES)
        )
        return (*super().policies(), *files)
