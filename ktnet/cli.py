"""The command line: which commands there are, and what happens to their errors.

Commands load when they are called, so that `ktnet --help` answers at once although some of
the libraries behind the commands take half a second to import.
"""

from __future__ import annotations

import importlib
import signal
import sys
from typing import NoReturn

import click

from ktnet.errors import Interrupted, KtnetError

COMMANDS = {
    "connect": "Join this machine to the cluster's network.",
    "forward": "Lead local ports to ports in the cluster.",
    "exchange": "Have this machine serve the requests of a workload.",
    "mesh": "Stand beside a workload with a version of one's own.",
    "run": "Make a process of this machine a Service of the cluster.",
    "exec": "Run one command in the cluster's network, without root.",
    "disconnect": "End the sessions of this machine.",
    "status": "Show the sessions of this machine.",
    "logs": "Show what a session and its shadow did.",
    "dashboard": "Show it all in a browser, live.",
    "speed": "Measure the tunnel leg by leg: where is it slow?",
    "check": "Say whether a command would work, and if not, why.",
    "recover": "Put back what an exchange has changed in the cluster.",
    "clean": "Undo what sessions left behind that were killed.",
    "dns": "Show how a name is decided and answered.",
    "config": "Defaults for options, by profile.",
    "completion": "The script that makes a shell complete ktnet's words.",
    "lab": "A whole small cluster in network namespaces, to try ktnet on.",
    "version": "Show the version.",
}
"""Name and one-line help of each command; the command `x` is `ktnet.commands.x:x`."""

ALIASES = {"preview": "run"}
"""Other words for some of them."""


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        cmd_name = ALIASES.get(cmd_name, cmd_name)
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"ktnet.commands.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        if not isinstance(command, click.Group):
            _name_variables(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _name_variables(command: click.Command) -> None:
    """Each option that takes a value has a variable: --namespace is $KTNET_NAMESPACE as well."""
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.is_flag and not parameter.envvar:
            longest = max(parameter.opts, key=len).removeprefix("--")
            parameter.envvar = f"KTNET_{longest.upper().replace('-', '_')}"


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--profile",
    metavar="NAME",
    envvar="KTNET_PROFILE",
    help="Which profile of the configuration file (see ktnet config --help).",
)
@click.pass_context
def ktnet(ctx: click.Context, profile: str | None) -> None:
    """Join this machine to a Kubernetes cluster's network.

    No cluster at hand? `ktnet lab up` makes one here, in network namespaces.
    """
    from ktnet.commands.profiles import (  # noqa: PLC0415  `--help` must be quick
        build_defaults,
        find_config,
        list_options,
        may_exist,
        read_profile,
    )

    path = find_config()
    if profile is None and not may_exist(path):
        return
    group = ctx.command
    assert isinstance(group, click.Group)  # noqa: S101  (narrows the type)
    commands = ((name, group.get_command(ctx, name)) for name in COMMANDS if name != "lab")
    options = list_options((name, each) for name, each in commands if each is not None)
    ctx.obj = read_profile(path, profile, options)
    ctx.default_map = build_defaults(ctx.obj, options)


def main() -> NoReturn:
    """Entry point: runs the command and turns errors into one line, a hint and an exit code."""
    code = run()
    # One more, while Python ends, has nothing left to interrupt.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


def run() -> int:
    """The command's exit code; raises what is a bug."""
    try:
        ktnet(standalone_mode=False, complete_var="_KTNET_COMPLETE")
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return Interrupted.exit_code
    except (KtnetError, BaseExceptionGroup) as raised:
        known = known_error(raised)
        if known is None:
            raise
        say_error(known)
        return known.exit_code
    return 0


def say_error(error: KtnetError) -> None:
    """One line and the hint; where nobody reads them any more, the exit code has to do."""
    try:
        click.echo(f"ktnet: {error.message}", err=True)
        if error.hint:
            click.echo(f"  hint: {error.hint}", err=True)
    except OSError:
        sys.stderr = None  # or Python would try once more at exit, and make the exit code 120


def known_error(raised: BaseException) -> KtnetError | None:
    """The error to tell the user; None where a bug is among what was raised.

    Of a group of errors it is the first, since what the other tasks raised came later.
    """
    if isinstance(raised, BaseExceptionGroup):
        found = [known_error(each) for each in raised.exceptions]
        return found[0] if None not in found else None
    return raised if isinstance(raised, KtnetError) else None
