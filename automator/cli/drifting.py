"""`drift`: what runs, beside what Git says; nothing is ever changed by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import click

from automator.cli.opening import configured, opened
from automator.cli.options import Globals, counted, global_options, selection
from automator.errors import AutomatorError, UsageError
from automator.reasons import Reason, reason

if TYPE_CHECKING:
    from automator.app import App
    from automator.app.runtimes import Place, Tip
    from automator.cli.choice import Choice
    from automator.config import Config
    from automator.core.drift import Drift, Says
    from automator.core.driftview import DriftView, RuntimeView
    from automator.core.running import Observation, Unobserved
    from automator.cycle.index import Snapshot
    from automator.cycle.run import Cycle

FAILED = 1

pass_globals = click.make_pass_decorator(Globals, ensure=True)


@click.command()
@click.option("--runtime", multiple=True, metavar="NAME", help="Only this runtime of the config.")
@click.option("--exit-code", is_flag=True, help="Exit 1 if a workload diverged, like git diff.")
@selection
@global_options
@pass_globals
def drift(
    told: Globals,
    repo: tuple[str, ...],
    workload: tuple[str, ...],
    owner: tuple[str, ...],
    runtime: tuple[str, ...],
    exit_code: bool,
) -> int:
    """Compare what runs with what Git says, now; read-only.

    Asks the runtimes of the config ([runtimes.NAME]) and the tip of the config repos. Pending is what is not
    deployed yet, within the runtime's grace time; diverged what runs other than Git says for longer; unknown
    what nobody can tell. Exits 1 where a runtime or a config repo could not be asked.
    """
    from automator.app import utc_now
    from automator.app.runtimes import ask_all, places_of
    from automator.cli.choice import choose
    from automator.cli.render import complain
    from automator.core.drift import DriftState

    config = configured(told)
    choice = choose(config, repo, workload, owner)
    places = [one for one in places_of(config, _named(config, runtime)) if one.repo in choice.repos]
    if not places:
        raise UsageError(reason("usage/no-runtimes"))
    repos = tuple(dict.fromkeys(place.repo for place in places))
    failures: list[Reason] = []
    with opened(config, exclusive=False, repos=repos, aside=True) as app:
        seen = ask_all(places, utc_now)
        for place in places:
            place.close()
        tips = {name: _tip(config, cycle, failures) for name, cycle in app.cycles.items()}
        looks = [_Look(app, place, seen[place.name], tips[place.repo], utc_now()) for place in places]
        choice.require_known_by(app.cycles.values())
        views = [view for look in looks for view in look.views() if _chosen(choice, view)]
    failures += [look.trouble for look in looks if look.trouble is not None]
    _print(told, [look.runtime for look in looks], views, many=len(config.repos) > 1)
    for why in failures:
        complain(why)
    diverged = any(view.drift.state is DriftState.DIVERGED for view in views)
    return FAILED if failures or (exit_code and diverged) else 0


def _named(config: Config, names: Iterable[str]) -> tuple[str, ...]:
    """The runtimes that are asked for. Raises UsageError for one that the config does not have."""
    from automator.cli.choice import near

    wanted = tuple(dict.fromkeys(names))
    for name in wanted:
        if name not in config.runtimes:
            known = near(name, config.runtimes) or f"known: {', '.join(sorted(config.runtimes)) or 'none'}"
            raise UsageError(reason("usage/unknown-runtime", name=name, known=known))
    return wanted


def _tip(config: Config, cycle: Cycle, failures: list[Reason]) -> tuple[Tip, Snapshot] | None:
    """What the config repo says now; None, with the reason among the failures, where it cannot be read."""
    from automator.app.runtimes import tip_of

    try:
        snapshot = cycle.read()
    except AutomatorError as error:
        failures.append(error.reason)
        return None
    return tip_of(config, cycle.repo, snapshot), snapshot


class _Look:
    """One runtime beside its config repo."""

    def __init__(
        self,
        app: App,
        place: Place,
        seen: Observation | Unobserved,
        tip: tuple[Tip, Snapshot] | None,
        now: datetime,
    ) -> None:
        from automator.app.drifts import earlier_of
        from automator.core.driftview import RuntimeView
        from automator.core.running import Observation

        answered = isinstance(seen, Observation)
        self.trouble = None if isinstance(seen, Observation) else seen.reason
        self._repo, self._snapshot = place.repo, None if tip is None else tip[1]
        drifts: tuple[Drift, ...] = ()
        if tip is not None:
            earlier = earlier_of(app.store, place, app.config)
            says = _histories(app.cycles[place.repo], tip[1])
            drifts = place.judge(tip[0], seen, now, earlier=earlier, says=says).drifts
        self.runtime: RuntimeView = RuntimeView(
            place.name,
            place.config.type,
            place.repo,
            place.config.interval,
            seen.at,
            seen.at if answered else None,
            self.trouble,
            seen.notes if isinstance(seen, Observation) else (),
            drifts,
        )

    def views(self) -> list[DriftView]:
        from automator.core.driftview import DriftView

        entries: Mapping[str, object] = {} if self._snapshot is None else self._snapshot.workloads
        return [
            DriftView(
                self._repo,
                drift,
                getattr(entries.get(drift.workload), "owner", None),
                getattr(entries.get(drift.workload), "environment", None),
            )
            for drift in self.runtime.drifts
        ]


def _histories(cycle: Cycle, snapshot: Snapshot) -> Callable[[Iterable[str]], Mapping[str, Says]]:
    """Since when Git says what it says, and what it said before, of some workloads; those are left out whose
    history cannot be read."""
    from automator.core.drift import says_of
    from automator.core.facts import site_key
    from automator.core.history import SiteHistory

    def says(names: Iterable[str]) -> Mapping[str, Says]:
        wanted = {name: snapshot.claims.sites.get(name, ()) for name in names}
        try:
            found = cycle.facts.whole_histories([site for sites in wanted.values() for site in sites])
        except AutomatorError:
            return {}
        pasts = {name: [found.get(site_key(site)) for site in sites] for name, sites in wanted.items()}
        return {
            name: says_of(past for past in read if isinstance(past, SiteHistory))
            for name, read in pasts.items()
            if read and all(isinstance(past, SiteHistory) for past in read)
        }

    return says


def _chosen(choice: Choice, view: DriftView) -> bool:
    names = {name for where, name in choice.workloads if where in ("", view.repo)}
    if choice.workloads and view.drift.workload not in names:
        return False
    return not choice.owners or view.owner in choice.owners


def _print(told: Globals, runtimes: list[RuntimeView], views: list[DriftView], *, many: bool) -> None:
    from automator.cli.render import print_json, print_table
    from automator.core.driftview import worst_first
    from automator.core.showndrift import shown_drifts

    shown = worst_first(views)
    if told.json:
        print_json(shown_drifts([replace(one, drifts=_of(one, shown)) for one in runtimes], shown))
        return
    if shown:
        columns = ("workload", "runtime", "state", "since", "reason")
        print_table(columns, [_row(view, many=many) for view in shown], state=2)
    for one in runtimes:
        if one.trouble is None and not one.drifts:
            click.echo(f"{one.name}: no workload of {one.repo} runs there, as its paths say")
        for note in one.notes:
            click.echo(click.style("note: ", fg="yellow") + f"{note.sentence}  [{note.code}]", err=True)
    silent = sum(one.trouble is not None for one in runtimes)
    if silent:
        click.echo(f"{counted(silent, 'runtime')} gave no answer", err=True)


def _of(runtime: RuntimeView, views: Iterable[DriftView]) -> tuple[Drift, ...]:
    return tuple(view.drift for view in views if view.drift.runtime == runtime.name)


def _row(view: DriftView, *, many: bool) -> tuple[object, ...]:
    drift = view.drift
    since = None if drift.since is None else f"{drift.since:%Y-%m-%d %H:%M}"
    name = f"{view.repo}/{drift.workload}" if many else drift.workload
    return name, drift.runtime, drift.state.value, since, drift.reason.sentence
