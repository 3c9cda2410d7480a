"""`ktnet recover`: put a workload or a Service back as it was before an exchange."""

from __future__ import annotations

import click

from ktnet.commands.names import complete_workloads
from ktnet.commands.options import cluster_options
from ktnet.session.options import ClusterOptions


@click.command()
@click.argument("name", required=False, shell_complete=complete_workloads)
@cluster_options
@click.option("--force", is_flag=True, help="Also where whoever holds it is there.")
def recover(name: str | None, cluster: ClusterOptions, force: bool) -> None:
    """Put back NAME (tomcat, deployment/tomcat, service/web), or all that is yours.

    What it was is written on the object itself, so this works on any machine, whatever has become
    of the session.
    """
    import asyncio

    from ktnet.session.leftovers import recover as put_back

    asyncio.run(put_back(cluster, name, force=force, tell=click.echo))
