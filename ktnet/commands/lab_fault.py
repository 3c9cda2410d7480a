"""`ktnet lab fault`: what happens to clusters and networks, made to happen to a lab."""

from __future__ import annotations

import json
from typing import Any

import click

_name = click.option("--name", default="default", show_default=True, help="Which lab.")
_seconds = click.option("--seconds", type=float, required=True, help="For how long.")

_pod = click.option("--pod", help="This pod, NAMESPACE/NAME; all shadows otherwise.")

_laptop = click.option("--laptop", type=int, default=1, show_default=True, help="Which, from 1.")


@click.group()
def fault() -> None:
    """Make something go wrong in a lab, to see what ktnet makes of it."""


@fault.command()
@_name
@click.argument("deed", type=click.Choice(["cut", "reset", "close", "stall", "resume"]))
@click.option("--pod", help="Only those to this pod, NAMESPACE/NAME.")
@click.option("--laptop", type=int, help="Only those from this laptop, from 1.")
def forwards(name: str, deed: str, pod: str | None, laptop: int | None) -> None:
    """Disturb the port-forwards that are open.

    cut: the connection ends (FIN). reset: likewise by RST. close: the WebSocket is closed, as the
    API server does it. stall: nothing more passes, though the connection stays. resume: it passes
    again.
    """
    answer = _happen(name, "forwards", deed=deed, pod=pod, laptop=laptop)
    click.echo(f"{answer['forwards']} port-forward(s)")


@fault.command()
@_name
@_seconds
def idle_timeout(name: str, seconds: float) -> None:
    """Cut port-forwards on which nothing passes for so long, as load balancers do; 0: no more."""
    _happen(name, "idle-timeout", seconds=seconds)


@fault.command()
@_name
@_seconds
def restart_api(name: str, seconds: float) -> None:
    """Kill the API server, and start it again later; returns when it is down."""
    _happen(name, "restart-api", seconds=seconds)


@fault.command()
@_name
def dns_forget(name: str) -> None:
    """Empty the memory of the cluster's DNS, as when CoreDNS is started anew."""
    _happen(name, "dns-forget")


@fault.command()
@_name
@click.argument("number", type=int)
@click.argument("deed", type=click.Choice(["kill", "reset", "refuse"]))
@click.option("--moment", type=click.Choice(["before", "after"]), default="before")
@click.option("--method", help="Only this HTTP method.")
@click.option("--path", help="Only these paths; * stands for anything.")
@click.option("--agent", help="Only this User-Agent; * stands for anything.")
@click.option("--laptop", type=int, help="Only those from this laptop, from 1.")
@click.option("--times", type=int, help="To so many requests in a row.")
@click.option("--status", type=int, help="What a refused request is answered by.")
def on_request(name: str, **arguments: Any) -> None:
    """Disturb the NUMBERth request from now on, before or after it has been done.

    kill: SIGKILL to the process on the laptop that sent it. reset: its connection is reset.
    refuse: it is answered by an error.
    """
    _happen(name, "on-request", **arguments)


@fault.command()
@_name
@_pod
def delete_shadow(name: str, pod: str | None) -> None:
    """Delete the shadows' pods, or one pod, with their grace."""
    click.echo("\n".join(_happen(name, "delete-shadow", pod=pod)["deleted"]))


@fault.command()
@_name
@_pod
def evict(name: str, pod: str | None) -> None:
    """Evict the shadows' pods, or one pod, where PodDisruptionBudgets allow it."""
    _say_evicted(_happen(name, "evict", pod=pod))


@fault.command()
@_name
@click.option("--node", help="Only this node.")
def drain(name: str, node: str | None) -> None:
    """Cordon the nodes, and evict all pods that run on them."""
    _say_evicted(_happen(name, "drain", node=node))


@fault.command()
@_name
@click.option("--node", help="Only this node.")
def uncordon(name: str, node: str | None) -> None:
    """Have the nodes take pods again."""
    click.echo("\n".join(_happen(name, "uncordon", node=node)["nodes"]))


@fault.command()
@_name
@_laptop
@click.argument("deed", type=click.Choice(["pull", "plug"]))
def cable(name: str, deed: str, laptop: int) -> None:
    """Pull a laptop's network cable, or plug it in."""
    _happen(name, "cable", deed=deed, laptop=laptop)


@fault.command()
@_name
@_laptop
@click.option("--delay-ms", type=float, help="Added to a round trip: half of it each way.")
@click.option("--rate-mbit", type=float, help="Megabits a second, in each direction.")
@click.option("--queue-kib", type=float, help="What may wait for its turn; a round trip's worth.")
@click.option("--share", type=float, help="Of 1: how many are lost, in each direction.")
@click.option("--seed", type=int, help="For other losses than last time.")
def packets(name: str, **conditions: float | None) -> None:
    """Delay, slow down and lose packets between a laptop and everybody else.

    What isn't said isn't done: without any option packets pass as they always did. Shows as JSON
    what has happened to packets so far.
    """
    click.echo(json.dumps(_happen(name, "packets", **conditions)))


@fault.command()
@_name
@_laptop
@click.argument("deed", type=click.Choice(["fill", "free"]))
def disk(name: str, deed: str, laptop: int) -> None:
    """Fill a laptop's /run, or free it."""
    _happen(name, "disk", deed=deed, laptop=laptop)


@fault.command()
@_name
def expire_token(name: str) -> None:
    """Have all bearer tokens expire: the API server answers 401."""
    click.echo(f"{_happen(name, 'expire-token')['tokens']} token(s)")


@fault.command()
@_name
def renew_token(name: str) -> None:
    """Have the tokens that expired be good again."""
    _happen(name, "renew-token")


def _say_evicted(answer: dict[str, Any]) -> None:
    for pod in answer["evicted"]:
        click.echo(f"{pod} evicted")
    for pod, why in answer["refused"].items():
        click.echo(f"{pod} stays: {why}")


@fault.command()
@_name
def show(name: str) -> None:
    """Show the faults on requests and what they did, and the open port-forwards, as JSON."""
    click.echo(json.dumps(_happen(name, "show"), indent=2))


@fault.command()
@_name
def clear(name: str) -> None:
    """End all faults that last."""
    _happen(name, "clear")


def _happen(name: str, what: str, **arguments: Any) -> Any:
    from ktnet.lab.faults.client import happen

    return happen(name, what, **arguments)
