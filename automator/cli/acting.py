"""What people ask for: rollback, hold, resume, reject, accept, freeze, thaw, promote, release.

Each is one commit with who asked for it and why, on the road of every release; the clone of a running
daemon is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from automator.cli.opening import warn
from automator.cli.options import Globals, global_options
from automator.errors import CheckoutError, UsageError
from automator.reasons import one_line, reason

if TYPE_CHECKING:
    from automator.app import App
    from automator.cli.choice import Choice
    from automator.config import Config
    from automator.core.action import Request
    from automator.cycle.acting import Acted
    from automator.cycle.run import Cycle

Command = TypeVar("Command", bound=Callable[..., Any])

REASON_LIMIT = 400
NEEDS_REASON = ("hold", "reject", "freeze", "rollback")
pass_globals = click.make_pass_decorator(Globals, ensure=True)


def _common(kind: str) -> Callable[[Command], Command]:
    """The options of every command of a person."""
    options = (
        click.option(
            "--reason",
            "-m",
            "words",
            metavar="TEXT",
            required=kind in NEEDS_REASON,
            help="Why; stands in the commit.",
        ),
        click.option(
            "--as", "actor", metavar="NAME", help="Who asks; else AUTOMATOR_ACTOR, else the login name."
        ),
        click.option("--repo", "-r", metavar="NAME", help="The config repo; needed if there are several."),
        click.option("--dry-run", is_flag=True, help="Show the commit and its diff, and push nothing."),
        click.option("--push", is_flag=True, help="Insist on pushing; refused where a pull request is due."),
    )

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return global_options(command)

    return decorate


_WORKLOAD = click.argument("workload")
_UNTIL = click.option(
    "--until", metavar="TIME", help="When it ends by itself: 2026-12-01T09:00:00Z, or 2h or 3d from now."
)
_FILE = click.option("--file", "file", metavar="FILE", help="Only the workloads of this policy file.")


# -- stops --------------------------------------------------------------------------------------------


@click.command()
@_WORKLOAD
@_UNTIL
@_common("hold")
@pass_globals
def hold(told: Globals, /, workload: str, **options: Any) -> int:
    """Stop releases of a workload until somebody resumes it."""
    return _carry_out(told, "hold", workload, options)


@click.command()
@_WORKLOAD
@_common("resume")
@pass_globals
def resume(told: Globals, /, workload: str, **options: Any) -> int:
    """Take the hold of a workload away."""
    return _carry_out(told, "resume", workload, options)


@click.command()
@_FILE
@_UNTIL
@_common("freeze")
@pass_globals
def freeze(told: Globals, /, **options: Any) -> int:
    """Stop all releases of a config repo, or of one policy file."""
    return _carry_out(told, "freeze", "", options)


@click.command()
@_FILE
@_common("thaw")
@pass_globals
def thaw(told: Globals, /, **options: Any) -> int:
    """Take a freeze away."""
    return _carry_out(told, "thaw", "", options)


# -- versions -----------------------------------------------------------------------------------------


@click.command()
@_WORKLOAD
@click.argument("version")
@_common("reject")
@pass_globals
def reject(told: Globals, /, workload: str, **options: Any) -> int:
    """Never take a version: a tag, or the digest of a followed one."""
    return _carry_out(told, "reject", workload, options)


@click.command()
@_WORKLOAD
@click.argument("version")
@_common("accept")
@pass_globals
def accept(told: Globals, /, workload: str, **options: Any) -> int:
    """Take a version again that somebody turned away or rejected."""
    return _carry_out(told, "accept", workload, options)


@click.command()
@_WORKLOAD
@click.option("--to", "version", metavar="VERSION", help="Where to; else the version before this one.")
@click.option("--from", "at", metavar="VERSION", help="Only if the workload is at this version still.")
@click.option(
    "--force",
    is_flag=True,
    help="Also to a version that was rejected, or that history and registry do not have.",
)
@_common("rollback")
@pass_globals
def rollback(told: Globals, /, workload: str, **options: Any) -> int:
    """Go back to an earlier version. What it leaves does not come back by itself."""
    return _carry_out(told, "rollback", workload, options)


@click.command()
@_WORKLOAD
@click.option("--to", "version", metavar="VERSION", required=True, help="The version: a tag.")
@click.option("--force", is_flag=True, help="Past what the policy says; written down in the commit.")
@_common("release")
@pass_globals
def release(told: Globals, /, workload: str, **options: Any) -> int:
    """Release one version now, if the policy permits it."""
    return _carry_out(told, "release", workload, options)


@click.command()
@_WORKLOAD
@click.option("--to", "version", metavar="VERSION", help="Another version than what is upstream now.")
@_common("promote")
@pass_globals
def promote(told: Globals, /, workload: str, **options: Any) -> int:
    """Release what the workload upstream has now, without waiting for its soak and checks."""
    return _carry_out(told, "promote", workload, options)


ACTIONS = (rollback, hold, resume, reject, accept, freeze, thaw, promote, release)


# -- what they share ----------------------------------------------------------------------------------


def _carry_out(told: Globals, kind: str, workload: str, options: dict[str, Any]) -> int:
    """Find the config repo, do what is asked there, and say so."""
    from automator.app import utc_now
    from automator.cli.choice import choose
    from automator.cycle.acting import Terms, act

    config = told.load()
    repos = () if options["repo"] is None else (options["repo"],)
    choice = choose(config, repos, (workload,) if workload else ())
    request = _request(kind, choice, options, utc_now())
    with _open(told, config, choice) as app:
        cycle = _cycle(app, choice)
        terms = Terms(config.repos[cycle.repo].deliver == "pull-request", options["push"], options["dry_run"])
        acted = act(cycle, _with_path(request, cycle), terms)
        _say(told, cycle.repo, request, acted, is_dry=terms.dry_run)
    return 0


@contextmanager
def _open(told: Globals, config: Config, choice: Choice) -> Iterator[App]:
    from automator.app import App
    from automator.edges.log import configure

    configure(config.log.format, told.log_level or config.log.level)
    with App.open(config, exclusive=False, repos=choice.repos, warn=warn) as app:
        yield app


def _request(kind: str, choice: Choice, options: dict[str, Any], now: datetime) -> Request:
    """What is asked for. Raises UsageError (`usage/until`), click.UsageError for a reason without words."""
    from automator.core.action import Request, actor_name

    words = options.get("words")
    why = None if words is None else one_line(words, REASON_LIMIT)
    if why == "":
        raise click.UsageError("--reason needs words")
    until = options.get("until")
    return Request(
        kind=kind,
        actor=actor_name(options["actor"] or os.environ.get("AUTOMATOR_ACTOR") or _login()),
        why=why,
        workload=choice.workloads[0][1] if choice.workloads else "",
        version=options.get("version"),
        until=None if until is None else _moment(until, now),
        file=options.get("file"),
        force=bool(options.get("force")),
        at=options.get("at"),
    )


def _login() -> str:
    """The login name of the user whose process this is; nothing where the system has none."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _moment(text: str, now: datetime) -> datetime:
    """A time to come, in whole seconds: RFC 3339, or a duration from now."""
    from automator.core.duration import parse_duration
    from automator.core.policycompile import parse_time

    at = parse_time(text)
    if at is None:
        try:
            at = (now + parse_duration(text)).replace(microsecond=0)
        except ValueError:
            raise UsageError(reason("usage/until", text=text)) from None
    if at <= now:
        raise UsageError(reason("usage/until", text=text))
    return at


def _cycle(app: App, choice: Choice) -> Cycle:
    """The one config repo that is meant: the only one, or the only one that has the workload.

    Raises UsageError where there are several, or where none has it.
    """
    cycles = list(app.cycles.values())
    name = choice.workloads[0][1] if choice.workloads else ""
    if name:
        cycles = _having(cycles, name, choice)
    if len(cycles) > 1:
        repos = ", ".join(cycle.repo for cycle in cycles)
        raise UsageError(reason("usage/several-repos", repos=repos))
    return cycles[0]


def _having(cycles: list[Cycle], name: str, choice: Choice) -> list[Cycle]:
    """The config repos that have a workload. One that cannot be read stops a command only where no other
    has it: what is broken there must not keep anybody from a rollback here."""
    found: list[Cycle] = []
    failures: list[CheckoutError] = []
    for cycle in cycles:
        try:
            snapshot = cycle.look()
        except CheckoutError as error:
            failures.append(error)
            continue
        if name in snapshot.workloads:
            found.append(cycle)
    for failure in failures if found else ():
        warn(failure.reason)
    if failures and not found:
        raise failures[0]
    choice.require_known_by(cycles)
    return found


def _with_path(request: Request, cycle: Cycle) -> Request:
    """The request with the policy file as its path in the config repo."""
    from dataclasses import replace

    folder = cycle.index.scope.policies.rstrip("/")
    if request.file is None or request.file.startswith(f"{folder}/"):
        return request
    return replace(request, file=f"{folder}/{request.file}")


def _say(told: Globals, repo: str, request: Request, acted: Acted, *, is_dry: bool) -> None:
    """Print what became of it."""
    from automator.cli.render import print_json
    from automator.core.shown import shown_reason

    change = acted.change
    diff = "" if change is None else "".join(edit.diff for edit in change.edits)
    notes = () if change is None else change.notes
    if told.json:
        nothing = None if acted.nothing is None else shown_reason(acted.nothing)
        print_json(
            {
                "repo": repo,
                "command": request.kind,
                "workload": request.workload or None,
                "actor": request.actor,
                "commit": acted.commit,
                "url": acted.url,
                "pull_request": acted.demanding,
                "branch": acted.branch,
                "message": acted.message or None,
                "diff": diff,
                "nothing": nothing,
                "notes": [shown_reason(note) for note in notes],
            }
        )
        return
    for note in notes:
        warn(note)
    subject = acted.message.partition("\n")[0]
    if acted.nothing is not None:
        click.echo(acted.nothing.sentence)
    elif acted.commit is not None:
        click.echo(f"{subject}: pushed to {repo} as {acted.commit[:12]}")
    elif acted.url is not None and not is_dry:
        click.echo(f"{subject}: takes effect on merge: {acted.url}")
    else:
        click.echo(acted.message)
        _print_diff(diff)
        if acted.demanding is not None:
            there = "" if acted.url is None else f", where {acted.url} is open"
            click.echo(f"goes by pull request on {acted.branch}{there}, as {acted.demanding} says")


def _print_diff(diff: str) -> None:
    for line in diff.splitlines(keepends=True):
        colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
        click.echo(click.style(line, fg=colour) if colour else line, nl=False)
