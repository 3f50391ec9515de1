"""The commands. Each imports what it needs when it runs, so that `--help` costs nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from automator.cli.acting import ACTIONS
from automator.cli.checking import check
from automator.cli.completing import completion
from automator.cli.drifting import drift
from automator.cli.files import images, set_
from automator.cli.history import log, report
from automator.cli.importing import import_
from automator.cli.notifying import notify
from automator.cli.opening import configured as _configured
from automator.cli.opening import opened as _open
from automator.cli.opening import warn
from automator.cli.options import Globals, counted, global_options, selection
from automator.cli.schema import schema
from automator.cli.starting import init
from automator.errors import ConfigError, RegistryError, UsageError
from automator.reasons import CODES, Status, reason

if TYPE_CHECKING:
    from automator.app import App
    from automator.config import Config
    from automator.config.values import Address
    from automator.core.report import Outcome, Report
    from automator.core.shown import ReportShown
    from automator.cycle.run import Cycle

FAILED = 1

pass_globals = click.make_pass_decorator(Globals, ensure=True)


# -- cycles --------------------------------------------------------------------------------------


@click.command()
@global_options
@pass_globals
def run(told: Globals) -> int:
    """Run the daemon: cycles at the configured interval until SIGTERM."""
    import gc

    from automator.bell import Bell

    with Bell() as bell:  # hung before all else takes its time: SIGHUP must never be what kills us
        # Modules stay: looking through them again and again while they come is a tenth of it.
        gc.disable()  # until `serve` has loaded all
        from automator.app.configwatch import ConfigSource
        from automator.app.starting import serve
        from automator.config import config_file

        config = _configured(told)
        source = ConfigSource(told.load, config_file(told.config, os.environ), told.log_level)
        return serve(config, source, bell)


@click.command()
@selection
@global_options
@pass_globals
def once(told: Globals, repo: tuple[str, ...], workload: tuple[str, ...], owner: tuple[str, ...]) -> int:
    """Run one cycle and push what it releases."""
    return _cycles(told, repo, workload, owner, push=True)


@click.command()
@click.option("--exit-code", is_flag=True, help="Exit 1 if there is something to release, like git diff.")
@selection
@global_options
@pass_globals
def plan(
    told: Globals, repo: tuple[str, ...], workload: tuple[str, ...], owner: tuple[str, ...], exit_code: bool
) -> int:
    """Show the diff that `once` would push."""
    return _cycles(told, repo, workload, owner, push=False, exit_code=exit_code)


def _cycles(
    told: Globals,
    repos: tuple[str, ...],
    workloads: tuple[str, ...],
    owners: tuple[str, ...],
    *,
    push: bool,
    exit_code: bool = False,
) -> int:
    from automator.cli.choice import choose
    from automator.cli.notifying import telling
    from automator.cli.render import print_json, print_outcomes
    from automator.core.shown import shown_report

    config = _configured(told)
    choice = choose(config, repos, workloads, owners)
    reports = []
    with _open(config, exclusive=push, repos=choice.repos) as app, telling(app, push=push) as tell:
        if push:
            _look_at_runtimes(config, app)
        for cycle in app.cycles.values():
            trigger = choice.trigger(cycle.repo)
            report = cycle.run(trigger, push=push, interim=_progress)
            if push:
                tell(report, trigger)
                _remember(app, cycle, report)
            reports.append((report, choice.shown(report)))
        choice.require_known_by(app.cycles.values())
    if told.json:
        print_json([_with_diff(shown_report(r, shown), r, push) for r, shown in reports])
    else:
        for report, shown in reports:
            print_outcomes(report, shown, many=len(config.repos) > 1)
            if not push:
                _print_diff(report)
    planned = any(report.patches for report, _ in reports)
    if any(_failed(report, shown) for report, shown in reports):
        return FAILED
    return FAILED if exit_code and planned else 0


def _with_diff(shown: ReportShown, report: Report, push: bool) -> dict[str, object]:
    return {**shown} if push else {**shown, "diff": "".join(patch.diff() for patch in report.patches)}


def _print_diff(report: Report) -> None:
    for patch in report.patches:
        for line in patch.diff().splitlines(keepends=True):
            colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
            click.echo(click.style(line, fg=colour) if colour else line, nl=False)


# -- questions -------------------------------------------------------------------------------------


@click.command()
@selection
@global_options
@pass_globals
def status(told: Globals, repo: tuple[str, ...], workload: tuple[str, ...], owner: tuple[str, ...]) -> int:
    """Show where every workload is, as of the last cycle. No network."""
    from datetime import UTC, datetime

    from automator.cli.choice import choose
    from automator.cli.render import print_json, print_outcomes
    from automator.core.shown import shown_report
    from automator.edges.store import Store

    config = told.load()
    choice = choose(config, repo, workload, owner)
    with Store.open(config.state, read_only=True, warn=warn) as store:
        reports = {name: store.last_report(name) for name in choice.repos}
    known = [report for report in reports.values() if report is not None]
    names = {report.repo: {o.workload for o in report.outcomes} for report in known}
    choice.require(names, {o.owner for report in known for o in report.outcomes if o.owner})
    if told.json:
        print_json([shown_report(report, choice.shown(report)) for report in known])
        return 0
    for name, last in reports.items():
        if last is None:
            click.echo(
                f"{name}: no cycle yet; start the daemon with `automator run`, or run `automator once`"
            )
            continue
        click.echo(f"{name}: last cycle {last.finished_at:%Y-%m-%d %H:%M:%S} UTC ({last.trigger})")
        print_outcomes(last, choice.shown(last), many=len(config.repos) > 1, now=datetime.now(UTC))
    return 0


@click.command()
@click.argument("subject", metavar="WORKLOAD|CODE", required=False)
@click.option("--all", "every", is_flag=True, help="Every tag; else the newest 20.")
@click.option("--repo", "-r", multiple=True, metavar="NAME", help="Only this config repo.")
@click.option(
    "--tags-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Offline: judge the tags in this file (a tag on a line, then seen=TIME signed=KEY …).",
)
@click.option(
    "--policy",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="With --tags-file: the policy file, or the folder of policies.",
)
@click.option(
    "--at", metavar="TIME", help="With --tags-file: the moment, such as 2026-12-01T09:00:00Z; else now."
)
@click.option("--current", metavar="TAG", help="With --tags-file: the current version; else none.")
@global_options
@pass_globals
def explain(
    told: Globals,
    subject: str | None,
    every: bool,
    repo: tuple[str, ...],
    tags_file: Path | None,
    policy: tuple[Path, ...],
    at: str | None,
    current: str | None,
) -> int:
    """Tell why a workload is where it is, tag by tag; or what a reason code means.

    With --tags-file and --policy it needs neither config nor network: a policy's test bench.
    """
    if tags_file is not None and policy:
        from automator.cli.trying import try_out

        return try_out(told, subject, policy, tags_file, at, current, every=every)
    if tags_file is not None or policy or at is not None or current is not None:
        raise UsageError(reason("usage/test-bench"))
    if subject is None:
        raise click.UsageError("Missing argument 'WORKLOAD|CODE'.")
    if subject in CODES:
        return _explain_code(told, subject)
    _refuse_misspelt_code(told, subject)
    from automator.cli.choice import choose
    from automator.cli.explaining import explanation_json, print_explanation
    from automator.cli.render import complain, print_json

    config = _configured(told)
    choice = choose(config, repo, (subject,))
    with _open(config, exclusive=False, repos=choice.repos) as app:
        found = []
        for cycle in app.cycles.values():
            report = cycle.run(choice.trigger(cycle.repo), push=False, interim=_progress)
            if report.error is not None:
                complain(report.error)
                return FAILED
            found += [(report.repo, o, cycle.verdicts(o.workload)) for o in choice.shown(report)]
        choice.require_known_by(app.cycles.values())
    if told.json:
        print_json([explanation_json(*one, every=every) for one in found])
        return 0
    for one in found:
        print_explanation(*one, every=every)
    return 0


def _refuse_misspelt_code(told: Globals, subject: str) -> None:
    """Raises UsageError for what looks like a code, unless a config repo has the name of its area."""
    area, slash, _ = subject.partition("/")
    areas = {code.partition("/")[0] for code in CODES}
    if slash and area in areas and area not in told.load(require_repos=False).repos:
        from automator.cli.choice import near

        beside = ", ".join(code for code in CODES if code.startswith(f"{area}/"))
        raise UsageError(
            reason("usage/unknown-code", name=subject, known=near(subject, CODES) or f"known: {beside}")
        )


def _explain_code(told: Globals, code: str) -> int:
    from automator.cli.render import print_json, print_mapping
    from automator.core.shown import shown_code

    told_of = {**shown_code(code)}
    if told.json:
        print_json(told_of)
    else:
        print_mapping(told_of)
    return 0


@click.command()
@click.argument("image")
@click.option(
    "--verbose",
    "-v",
    is_flag=True,
    help="Also whose credentials opened it: the file, helper or cloud, never the secret.",
)
@global_options
@pass_globals
def tags(told: Globals, image: str, verbose: bool) -> int:
    """List the tags of an image repository, as the registry has them."""
    from automator.app import registry_client, utc_now
    from automator.cli.render import print_json
    from automator.core.reference import parse_reference

    repository = parse_reference(image).repository
    client = registry_client(_configured(told, require_repos=False))
    answer: dict[str, object] = {"repository": str(repository), "credentials": None, "tags": None}
    listed: list[str] = []
    refused: RegistryError | None = None
    try:
        listed = sorted(client.tags(repository, now=utc_now()).tags)
        answer["tags"] = listed
    except RegistryError as error:
        refused = error
        answer["error"] = {"code": error.reason.code, "sentence": error.reason.sentence}
    finally:
        answer["credentials"] = used = client.describe_credentials(repository)
        client.close()
    if told.json:
        print_json(answer)
    elif verbose:
        count = "no answer" if refused else counted(len(listed), "tag")
        click.echo(f"{repository}: {count}, credentials: {used}", err=True)
    if refused is not None:
        raise refused
    if not told.json:
        for tag in listed:
            click.echo(tag)
    return 0


def _listened_at(told: Globals) -> Address | None:
    """Where a daemon of this config listens; None where nowhere. One that runs goes on by its old config when
    a new one cannot be read, and it is well: what the environment says of the address counts for both."""
    from automator.config.values import parse_address

    try:
        return told.load(require_repos=False).daemon.listen_address
    except ConfigError:
        with suppress(KeyError, ValueError):
            return parse_address(os.environ["AUTOMATOR_DAEMON__LISTEN"])
        raise


@click.command()
@click.option("--url", metavar="URL", help="Ask this address; else daemon.listen of the config.")
@global_options
@pass_globals
def health(told: Globals, url: str | None) -> int:
    """Ask a running daemon whether it makes progress; exit 1 if not."""
    from automator.edges.http import probe

    if url is None:
        address = _listened_at(told)
        if address is None:
            raise UsageError(reason("usage/no-listener"))
        host = address.host if address.host not in ("", "0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
        url = f"http://{f'[{host}]' if ':' in host else host}:{address.port}/healthz"
    fine, words = probe(url)
    if told.json:
        from automator.cli.render import print_json

        print_json({"ok": fine, "words": words})
    else:
        click.echo(words, err=not fine)
    return 0 if fine else FAILED


@click.command()
@click.option(
    "--keep", is_flag=True, help="Keep registry, config repo and daemon until Ctrl-C, to play with."
)
@pass_globals
def demo(told: Globals, keep: bool) -> int:
    """Show the main job end to end on an embedded registry and a config repo in a temporary folder."""
    from automator.demo.tour import tour

    assert told.again is not None
    return tour(told.again, keep=keep)


COMMANDS = (
    *(run, once, plan, check, status, drift, explain, tags, log, report),
    *(set_, images, schema, notify, health, init, import_, completion, demo),
    *ACTIONS,
)


# -- what commands share ---------------------------------------------------------------------------


def _look_at_runtimes(config: Config, app: App) -> None:
    """What runs where, once before the cycles: soaks and the check `deployed` may wait for it."""
    if not app.deployments:
        return
    from automator.app import utc_now
    from automator.app.runtimes import look_once

    for why in look_once(config, app, utc_now):
        warn(why)


def _progress(report: Report) -> None:
    """Tell a person at a terminal why nothing happens for a while."""
    if sys.stderr.isatty():
        reading = sum(o.reason.code == "history/reading" for o in report.outcomes)
        click.echo(f"{report.repo}: reading the history of {counted(reading, 'workload')} …", err=True)


def _remember(app: App, cycle: Cycle, report: Report) -> None:
    """Keep a report for `status`, with what is known of the workloads that it is not about."""
    snapshot = cycle.index.snapshot
    known = None if snapshot is None else snapshot.workloads.keys()
    app.store.save_report(report.completed(app.store.last_report(report.repo), known))


def _failed(report: Report, shown: Sequence[Outcome]) -> bool:
    return report.error is not None or any(o.status is Status.FAILED for o in shown)
