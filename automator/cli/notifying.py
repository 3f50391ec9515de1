"""Notifying: `once` tells its receivers, and `notify test` shows whether they can be told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from automator.cli.opening import configured, warn
from automator.cli.options import Globals, global_options
from automator.errors import UsageError
from automator.reasons import reason

if TYPE_CHECKING:
    from automator.app import App
    from automator.app.notices import Subscription
    from automator.core.noticetext import Message
    from automator.core.report import Report
    from automator.cycle.run import Trigger

FAILED = 1

pass_globals = click.make_pass_decorator(Globals, ensure=True)


@contextmanager
def telling(app: App, *, push: bool) -> Iterator[Callable[[Report, Trigger], None]]:
    """Tells the receivers of the config of each report; at the end waits a while for those who can be
    reached. What they do not take is left to the next `once`, or to the daemon."""
    if not push or not app.config.notify:
        yield lambda _report, _trigger: None
        return
    from automator.app import utc_now
    from automator.app.notices import open_notices

    notices = open_notices(app.config, app.store, app.forges, utc_now, warn)
    assert notices is not None  # the config has receivers
    notices.start()
    try:
        yield lambda report, trigger: notices.tell(report, is_whole=not trigger.partial)
    finally:
        notices.close(app.config.daemon.stop_timeout.total_seconds())


@click.group()
@global_options
def notify() -> None:
    """See whether the receivers of the config can be told."""


@notify.command(name="test")
@click.argument("name", required=False)
@global_options
@pass_globals
def test_receivers(told: Globals, name: str | None) -> int:
    """Send every receiver of the config, or only NAME, a test message now; exit 1 if one did not take it."""
    from automator.app.notices import subscriptions_of

    config = configured(told, require_repos=False)
    known = ", ".join(sorted(config.notify)) or "none"
    if name is not None and name not in config.notify:
        raise UsageError(reason("usage/no-receiver", name=name, known=known))
    chosen = [one for one in subscriptions_of(config) if name in (None, one.name)]
    results = [(one.name, *_try(one)) for one in chosen]
    if told.json:
        from automator.cli.render import print_json

        print_json([{"receiver": who, "ok": fine, "words": words} for who, fine, words in results])
    else:
        for who, fine, words in results:
            click.echo(f"{who}: {words}" if fine else f"{who}: could not be told: {words}", err=not fine)
        if not results:
            click.echo("the config names no receiver: see [notify.NAME] in config.example.toml")
    return 0 if all(fine for _, fine, _ in results) else FAILED


def _try(one: Subscription) -> tuple[bool, str]:
    from automator.edges.log import mask
    from automator.edges.notify import Result

    answer = one.receiver.send(_test_message(one))
    return answer.result is Result.SENT, mask(answer.words)


def _test_message(one: Subscription) -> Message:
    """As it would tell of a release, in the receiver's own words; a new one each time."""
    from automator.app import utc_now
    from automator.core.noticetext import test_message

    return test_message(utc_now(), salt=one.name, words=one.words)
