"""The commands that read the config repo's history: `log` and `report`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from automator.cli.opening import configured, opened
from automator.cli.options import Globals, global_options, history_selection, tabular_options
from automator.errors import UsageError
from automator.reasons import reason

if TYPE_CHECKING:
    from automator.app import App
    from automator.cli.choice import Choice
    from automator.config import Config
    from automator.core.delivery.change import Wanted
    from automator.cycle.approvals import Approvals
    from automator.cycle.logbook import Logbook

_KINDS = (
    *("release", "promote", "rollback", "revert", "manual"),
    *("hold", "resume", "reject", "accept", "freeze", "thaw"),
)

pass_globals = click.make_pass_decorator(Globals, ensure=True)


@click.command()
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="Most lines; 0 for all that there are.",
)
@click.option("--image", multiple=True, metavar="IMAGE", help="Only releases of this image repository.")
@click.option("--author", multiple=True, metavar="TEXT", help="Only by people whose name or mail has this.")
@click.option("--kind", multiple=True, type=click.Choice(_KINDS), help="Only changes of this kind.")
@click.option("--details", is_flag=True, help="All that is known of each, in several lines.")
@click.option("--claims", is_flag=True, help="Only what messages say, unchecked: fast in a long history.")
@click.option("--forge", is_flag=True, help="Ask the forge who approved the pull requests.")
@history_selection
@tabular_options
@pass_globals
def log(
    told: Globals,
    /,
    limit: int,
    image: tuple[str, ...],
    author: tuple[str, ...],
    kind: tuple[str, ...],
    details: bool,
    claims: bool,
    forge: bool,
    **chosen: tuple[str, ...] | str | None,
) -> int:
    """List what happened to workloads, newest first: releases, what people did, and by which rule."""
    from automator.cli.logbook import newest_first, print_log

    if claims and forge:
        raise click.UsageError("--claims asks nobody: leave out --forge.")
    config = configured(told)
    choice, wanted = _asked(config, chosen, images=image, people=author, kinds=kind)
    whole = details or told.output != "table"
    with ExitStack() as stack:
        app = stack.enter_context(opened(config, exclusive=False, aside=True, repos=choice.repos))
        streams = []
        for cycle in app.cycles.values():
            book = cycle.logbook()
            _warn_of_end(book)
            mine = _of_repo(choice, cycle.repo, wanted)
            found = book.claims(mine) if claims else book.changes(mine, policies=whole, signed=whole)
            streams.append(_approvals(app, cycle.repo).told(found) if forge else found)
            stack.callback(streams[-1].close)
        count = print_log(newest_first(streams, limit or None), told.output, details=details)
        if not count and told.output == "table":
            click.echo(
                "no releases yet" if _is_open(chosen, image, author, kind) else "nothing like that yet"
            )
    return 0


@click.command()
@click.option(
    "--by",
    type=click.Choice(["workload", "owner", "environment", "repo", "week", "month"]),
    default="workload",
    show_default=True,
    help="What the figures are told apart by.",
)
@click.option(
    "--slowest",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="How many releases are told station by station, the slowest first.",
)
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Write the report as one HTML page, with plots; - is standard output.",
)
@history_selection
@global_options
@pass_globals
def report(
    told: Globals, /, by: str, slowest: int, html: Path | None, **chosen: tuple[str, ...] | str | None
) -> int:
    """Tell how delivery goes: the four figures of DORA, and where the time of releases went.

    Without --since, of the last 90 days. docs/metrics.md says how each figure is counted.
    """
    from automator.cli.reporting import print_report
    from automator.cycle.reporting import read_for, summary_of

    to_screen = html is not None and str(html) == "-"
    if to_screen and told.json:
        raise click.UsageError("--html - and --output json both want standard output.")
    config = configured(told)
    choice, wanted = _asked(config, chosen)
    now = _now()
    if wanted.since is not None and wanted.since >= now:
        raise _empty(wanted.since, wanted.until or now)
    with opened(config, exclusive=False, aside=True, repos=choice.repos) as app:
        books = {}
        for cycle in app.cycles.values():
            books[cycle.repo] = cycle.logbook()
            _warn_of_end(books[cycle.repo])
        wants = {repo: _of_repo(choice, repo, wanted) for repo in books}
        read = {repo: read_for(book, wants[repo]) for repo, book in books.items()}
        summary = summary_of(read, wants, app.store, by=by, now=now)
    if html is not None:
        from automator.core.delivery.page import page

        text = page(summary, slowest=max(slowest, 1))
        if to_screen:
            click.echo(text.encode("utf-8", "replace"), nl=False)
        else:
            _write(html, text)
            click.echo(f"written to {html}", err=True)
    if html is None or told.json:
        print_report(summary, slowest=slowest, as_json=told.json)
    return 0


def _asked(
    config: Config,
    chosen: dict[str, tuple[str, ...] | str | None],
    *,
    images: tuple[str, ...] = (),
    people: tuple[str, ...] = (),
    kinds: tuple[str, ...] = (),
) -> tuple[Choice, Wanted]:
    """What the options say together. Raises UsageError."""
    from automator.cli import moments
    from automator.cli.choice import choose
    from automator.core.delivery.change import Wanted
    from automator.core.reference import parse_repository

    def texts(name: str) -> tuple[str, ...]:
        value = chosen[name]
        return value if isinstance(value, tuple) else ()

    def text(name: str) -> str | None:
        value = chosen[name]
        return value if isinstance(value, str) else None

    choice = choose(config, texts("repo"), texts("workload"), texts("owner"))
    now = _now()
    since, until = moments.since(text("since"), now), moments.until(text("until"), now)
    if since is not None and until is not None and since >= until:
        raise _empty(since, until)
    return choice, Wanted(
        images=frozenset(str(parse_repository(image)) for image in images),
        owners=frozenset(choice.owners),
        environments=frozenset(texts("environment")),
        people=frozenset(person.lower() for person in people),
        kinds=frozenset(kinds),
        since=since,
        until=until,
    )


def _empty(since: datetime, until: datetime) -> UsageError:
    return UsageError(
        reason("usage/empty-period", since=f"{since:%Y-%m-%d %H:%M}", until=f"{until:%Y-%m-%d %H:%M}")
    )


def _of_repo(choice: Choice, repo: str, wanted: Wanted) -> Wanted:
    """What is wanted of one config repo: workloads may be named for it alone."""
    return replace(wanted, workloads=choice.trigger(repo).workloads)


def _is_open(chosen: dict[str, tuple[str, ...] | str | None], *further: tuple[str, ...]) -> bool:
    """Whether everything was asked for."""
    return not any((*chosen.values(), *further))


def _warn_of_end(book: Logbook) -> None:
    if not book.reaches_beginning:
        click.echo(
            f"{book.repo}: what is older than repos.{book.repo}.history_limit commits is not told",
            err=True,
        )


def _approvals(app: App, repo: str) -> Approvals:
    """Raises UsageError where the config names no forge."""
    from automator.cycle.approvals import Approvals

    place = app.config.forge_of(repo)
    if place is None:
        raise UsageError(reason("usage/no-forge", repo=repo))
    host, project = place
    return Approvals(app.forges[host], project)


def _now() -> datetime:
    from automator.app import utc_now

    return utc_now()


def _write(file: Path, text: str) -> None:
    """Write a page whole or not at all; what is no regular file (a pipe) is written to as it is.

    Raises UsageError.
    """
    data = text.encode("utf-8", "replace")
    try:
        place = file.resolve()  # a link stays one
        if place.exists() and not place.is_file():
            place.write_bytes(data)
            return
        fresh = place.with_name(f".{place.name}.new")
        fresh.write_bytes(data)
        fresh.replace(place)
    except OSError as error:
        raise UsageError(reason("usage/unwritable", file=file, problem=error.strerror)) from error
