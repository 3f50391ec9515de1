"""Promotion chains as a graph: what is where, and what waits for what."""

from datetime import UTC, datetime, timedelta

from automator.core.chaining import Place, chains_of
from automator.core.policy import parse_policies
from automator.core.report import Outcome
from automator.reasons import Reason, Status, reason

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FINE = reason("current/newest", current="1.4.3", count=3, rule="any")


def place(policy: str, **outcomes: tuple[str, Status, Reason, str | None]) -> Place:
    """A config repo: the lines of each workload's policy, and version, status, reason and target."""
    found = parse_policies({"policies/shop.yaml": f"version: 1\nworkloads:\n{policy}"})
    assert found.problems == (), found.problems
    return Place(
        {entry.name: entry for entry in found.workloads},
        {
            name: Outcome(name, status, why, "ghcr.io/acme/web", version, target, environment=name)
            for name, (version, status, why, target) in outcomes.items()
        },
    )


def entry(name: str, keys: str = "") -> str:
    return f'  {name}: {{image: ghcr.io/acme/web, semver: "*", where: {{name: {name}}}{keys}}}\n'


def soak(upstream: str) -> Reason:
    told = {"version": "1.4.3", "upstream": upstream, "held": "1h", "soak": "2h", "at": "13:00"}
    return reason("guard/soak", changes_at=NOON, **told)


def test_without_after_there_is_no_chain() -> None:
    assert chains_of({"shop": place(entry("web"))}, {}) == ()


def test_a_chain_over_two_config_repos_is_one() -> None:
    staging = place(entry("web"), web=("1.4.3", Status.CURRENT, FINE, None))
    policy = entry("canary", ", after: {workload: staging/web, soak: 2h}")
    policy += entry("web", ", after: {workload: canary}")
    shop = place(
        policy,
        canary=("1.4.2", Status.WAITING, soak("staging/web"), "1.4.3"),
        web=("1.4.2", Status.CURRENT, FINE, None),
    )
    (chain,) = chains_of({"shop": shop, "staging": staging}, {("staging", "web"): NOON})
    assert [(n.repo, n.name, n.version, n.status, n.since) for n in chain.nodes] == [
        ("staging", "web", "1.4.3", "current", NOON),
        ("shop", "canary", "1.4.2", "waiting", None),
        ("shop", "web", "1.4.2", "current", None),
    ]
    first, second = chain.edges
    assert (first.upstream, first.downstream) == (("staging", "web"), ("shop", "canary"))
    assert (first.soak, first.candidate) == (timedelta(hours=2), "1.4.3")
    assert first.reason is not None
    assert first.reason.changes_at == NOON
    assert (second.candidate, second.reason) == (None, None)


def test_of_several_upstreams_the_reason_stands_where_it_belongs() -> None:
    policy = entry("east") + entry("west") + entry("live", ", after: {workload: [east, west]}")
    held = dict.fromkeys(("east", "west"), ("1.4.3", Status.CURRENT, FINE, None))
    shop = place(policy, **held, live=("1.4.2", Status.WAITING, soak("west"), "1.4.3"))
    (chain,) = chains_of({"shop": shop}, {})
    told = {edge.upstream[1]: edge.reason is not None for edge in chain.edges}
    assert told == {"east": False, "west": True}
    assert {edge.candidate for edge in chain.edges} == {"1.4.3"}


def test_a_group_counts_as_one() -> None:
    policy = entry("a", ", group: {name: front}") + entry("b", ", group: {name: front}")
    policy += entry("live", ", after: {group: front}")
    shop = place(
        policy,
        a=("1.4.3", Status.CURRENT, FINE, None),
        b=("1.4.3", Status.HELD, FINE, None),
        live=("1.4.2", Status.RELEASED, FINE, "1.4.3"),
    )
    (chain,) = chains_of({"shop": shop}, {})
    group, live = chain.nodes
    assert (group.name, group.version, group.status) == ("front", "1.4.3", "held")
    assert group.sentence == "group of a, b"
    assert (live.version, live.environment) == ("1.4.3", "live"), "as it is after the release"


def test_what_is_not_here_is_a_place_of_which_nothing_is_known() -> None:
    shop = place(entry("web", ", after: {workload: elsewhere/web}"))
    (chain,) = chains_of({"shop": shop}, {})
    assert [(node.repo, node.status, node.version) for node in chain.nodes] == [
        ("elsewhere", "", None),
        ("shop", "", None),
    ]


def test_a_circle_ends() -> None:
    policy = entry("a", ", after: {workload: b}") + entry("b", ", after: {workload: a}")
    (chain,) = chains_of({"shop": place(policy)}, {})
    assert [node.name for node in chain.nodes] == ["a", "b"]
    assert len(chain.edges) == 2


def test_the_work_grows_with_the_chains_and_not_with_their_square() -> None:
    """Counted in how often the name of a config repo is hashed, for pairs, a star, a circle, and a group."""
    for shape in ("pair", "star", "circle", "group"):
        small, large = work(shape, 50), work(shape, 200)
        assert large < 6 * small, shape


class Counted(str):
    """A name that counts how often it is looked up."""

    count = 0
    __slots__ = ()

    def __hash__(self) -> int:
        Counted.count += 1
        return str.__hash__(self)


def work(shape: str, number: int) -> int:
    """Look-ups for so many workloads."""
    in_group = ", group: {name: first}" if shape == "group" else ""
    policy = entry("first", in_group)
    for n in range(number):
        above = {"pair": f"up{n}", "star": "first", "circle": f"w{(n + 1) % number}", "group": "first"}[shape]
        kind = "group" if shape == "group" else "workload"
        policy += entry(f"up{n}", in_group) + entry(f"w{n}", f", after: {{{kind}: {above}}}")
    repo = Counted("shop")
    there = place(policy)
    Counted.count = 0
    chains = chains_of({repo: there}, {})
    assert len(chains) == (number if shape == "pair" else 1)
    return Counted.count
