"""The entry: one error handler, and the exit codes of DESIGN section 9."""

from __future__ import annotations

import sys
import traceback

import click

from automator import __version__, describe
from automator.cli.commands import COMMANDS
from automator.cli.options import EPILOG, Globals, tabular_options
from automator.errors import AutomatorError, ConfigError, InvalidReference, UsageError

PRINT_CSV = ("log",)
FINE, FAILED, USAGE, BUG, INTERRUPTED = 0, 1, 2, 3, 130


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", "-V", message=describe())
@tabular_options
@click.pass_context
def automator(context: click.Context) -> None:
    """Writes new image versions into a GitOps config repo: one commit a release, pushed."""
    if context.ensure_object(Globals).output == "csv" and context.invoked_subcommand not in PRINT_CSV:
        raise click.UsageError(f"Only {' and '.join(PRINT_CSV)} prints csv; others print table or json.")


for command in COMMANDS:
    automator.add_command(command)


def main(arguments: list[str]) -> int:
    """Run a command line; returns the exit code. Nothing a user does ends in a traceback."""
    try:
        result = automator.main(
            arguments, prog_name="automator", standalone_mode=False, obj=Globals(again=_again)
        )
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return USAGE
    except AutomatorError as error:
        return _complain(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:  # noqa: BLE001 - the last line of defence: a bug is told apart from a mistake
        return _confess()
    return result if isinstance(result, int) else FINE


def _again(arguments: list[str]) -> int:
    """Another command line inside of one; Ctrl-C in the inner one ends them both."""
    code = main(arguments)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return code


def _complain(error: AutomatorError) -> int:
    from automator.cli.render import complain

    complain(error.reason)
    for note in getattr(error, "__notes__", ()):
        click.echo(f"  also: {note}", err=True)
    return USAGE if isinstance(error, (UsageError, ConfigError, InvalidReference)) else FAILED


def _confess() -> int:
    click.echo("automator: this is a bug in automator, not your mistake. Please report it with:", err=True)
    click.echo(f"  automator {__version__}, Python {sys.version.split()[0]}, {sys.platform}", err=True)
    click.echo(traceback.format_exc(), err=True)
    return BUG
