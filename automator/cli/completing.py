"""`automator completion`: what a shell needs to complete commands, options and their values.

The script that is printed asks the program itself at each press of the key, by a variable
(`_AUTOMATOR_COMPLETE`) and the protocol of click, so that it fits whatever version is installed. Neither
config nor state is read for that: an answer takes no longer than `--help`.
"""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_AUTOMATOR_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(SHELLS), metavar="bash|zsh|fish")
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print a script that lets a shell complete commands and options, to be sourced in its startup file."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None, shell
    command = made(context.find_root().command, {}, "automator", VARIABLE)
    # `source` would start bash to learn its version first; the script itself is what we are asked for.
    click.echo(command.source_template % command.source_vars(), nl=False)
    return 0
