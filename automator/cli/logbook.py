"""What `log` prints: the releases that the config repo's history holds."""

from __future__ import annotations

import click

from automator.app import App
from automator.cli.choice import Choice
from automator.cli.render import print_json, print_table
from automator.core.reference import short_text


def print_log(app: App, choice: Choice, *, limit: int, as_json: bool) -> None:
    """Print the newest releases of every config repo, of the chosen workloads only."""
    lines = [
        line for cycle in app.cycles.values() for line in cycle.logbook(choice.trigger(cycle.repo), limit)
    ]
    lines.sort(key=lambda line: line.time, reverse=True)
    if as_json:
        print_json(
            [
                {
                    "repo": line.repo,
                    "commit": line.commit,
                    "time": line.time,
                    "author": line.author,
                    "kind": line.kind,
                    "workload": line.member.workload,
                    "image": line.member.image,
                    "from": line.member.before,
                    "to": line.member.after,
                    "sites": list(line.member.sites),
                    "built": line.member.built,
                    "source": line.member.source,
                    "policy": line.member.policy,
                    "proven": line.proven,
                }
                for line in lines[:limit]
            ]
        )
        return
    if not lines:
        click.echo("no releases yet")
        return
    rows = [
        (
            f"{line.time:%Y-%m-%d %H:%M}",
            line.commit[:10],
            line.kind if line.proven else f"{line.kind}?",
            f"{line.repo}/{line.member.workload}",
            short_text(line.member.before),
            short_text(line.member.after),
            line.author,
        )
        for line in lines[:limit]
    ]
    print_table(("time", "commit", "kind", "workload", "from", "to", "author"), rows)
