"""`ktnet completion`: what a shell evaluates to complete ktnet's words."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_WHERE = {
    "bash": 'eval "$(ktnet completion bash)"      # in ~/.bashrc',
    "zsh": 'eval "$(ktnet completion zsh)"       # in ~/.zshrc, behind compinit',
    "fish": "ktnet completion fish | source       # in ~/.config/fish/config.fish",
}


@click.command(
    epilog="\b\n" + "\n".join(_WHERE.values()),
)
@click.argument("shell", type=click.Choice(list(_WHERE)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete commands, options and names of the cluster."""
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  (click.Choice has only those that there are)
    click.echo(kind(ctx.find_root().command, {}, "ktnet", "_KTNET_COMPLETE").source())
