"""`ktnet lab`: a whole small cluster on this machine, in network namespaces."""

from __future__ import annotations

from typing import IO

import click

from ktnet.commands.lab_fault import fault
from ktnet.commands.options import output_option

_name = click.option("--name", default="default", show_default=True, help="Which lab.")


@click.group()
def lab() -> None:
    """A whole small cluster on this machine, to try ktnet on."""


@lab.command()
@_name
@click.option("--laptops", default=1, show_default=True, help="How many laptops stand beside it.")
def up(name: str, laptops: int) -> None:
    """Start a lab; returns when it is ready."""
    from ktnet.lab.launch import start_lab

    started = start_lab(name, laptops)
    option = "" if name == "default" else f" --name {name}"
    if started.new:
        click.echo(f"lab {name} is up  {started.seconds:.1f} s")
    else:
        click.echo(f"lab {name} is already up")
    click.echo(f"  run something on its laptop:  ktnet lab exec{option} -- kubectl get pods -A")
    click.echo(f"  join the laptop to it:        ktnet lab exec{option} -- ktnet connect -n demo")
    click.echo(f"  end it:                       ktnet lab down{option}")


@lab.command()
@_name
def down(name: str) -> None:
    """End a lab and everything in it."""
    from ktnet.lab.launch import stop_lab

    click.echo(f"lab {name} is gone" if stop_lab(name) else f"there is no lab {name}")


@lab.command()
@click.option("--name", help="Only this lab.")
@output_option("table", "json")
def status(name: str | None, output: str) -> None:
    """Show the labs that are running."""
    import json

    from ktnet.lab.launch import describe_labs

    labs = describe_labs(name)
    if output == "json":
        click.echo(json.dumps({"labs": labs}, indent=2))
        return
    if not labs:
        click.echo("no labs")
    for each in labs:
        ready = sum(pod["ready"] for pod in each["pods"])
        click.echo(f"{each['name']}: pid {each['pid']}, since {each['since']}")
        click.echo(f"  pods     {ready} of {len(each['pods'])} ready")
        for laptop in each["laptops"]:
            click.echo(f"  {laptop['name']} {laptop['address']}")
        click.echo(f"  kubeconfig {each['kubeconfig']}")


@lab.command("exec", context_settings={"allow_interspersed_args": False})
@_name
@click.option("--laptop", default=1, show_default=True, help="On which laptop, from 1.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(name: str, laptop: int, command: tuple[str, ...]) -> None:
    """Run a command on a laptop of a lab, with KUBECONFIG set."""
    from ktnet.lab.entering import run_in_laptop

    run_in_laptop(name, laptop, list(command))


@lab.command()
@_name
def kubeconfig(name: str) -> None:
    """Print the path of a lab's kubeconfig (it works on the lab's laptops)."""
    from ktnet.lab.entering import find_lab

    directory, _ = find_lab(name)
    click.echo(directory.kubeconfig)


lab.add_command(fault)


@lab.command()
@_name
@click.option("-n", "--namespace", default="demo", show_default=True, help="Where Roles apply.")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.File(),
    help="A file with Roles or ClusterRoles (YAML), which the user has; can be given again.",
)
@click.option("--group", "groups", multiple=True, help="A group of the user; can be given again.")
@click.option("--certificate", is_flag=True, help="With a client certificate, not a token.")
@click.argument("user")
def user(
    name: str,
    namespace: str,
    roles: tuple[IO[str], ...],
    groups: tuple[str, ...],
    certificate: bool,
    user: str,
) -> None:
    """Make a user who may do just what ROLE says; prints the path of its kubeconfig."""
    from ktnet.lab.launch import add_user, parse_roles

    rules = [role for file in roles for role in parse_roles(file.read())]
    click.echo(
        add_user(
            name, user, roles=rules, groups=groups, namespace=namespace, certificate=certificate
        )
    )


@lab.command()
def demo() -> None:
    """Start a lab, connect to it, try every promise, undo everything."""
    from ktnet.lab.demo import run_demo
    from ktnet.lab.entering import require_root

    require_root()
    run_demo()
