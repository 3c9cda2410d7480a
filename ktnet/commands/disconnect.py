"""`ktnet disconnect`: have sessions of this machine undo everything and end."""

from __future__ import annotations

import click


@click.command()
@click.argument("pid", type=int, required=False)
def disconnect(pid: int | None) -> None:
    """End the session with this PID, or all sessions of this machine."""
    from ktnet.commands.leftovers import mend_leftovers
    from ktnet.control import disconnect as end
    from ktnet.control import list_sessions
    from ktnet.errors import NotFound
    from ktnet.host.privileges import step_down

    mend_leftovers()
    step_down()  # a user's sessions are registered as the user's
    sessions = [s for s in list_sessions() if pid is None or s["pid"] == pid]
    if not sessions and pid is not None:
        raise NotFound(f"no session of this machine has the pid {pid}", hint="see ktnet status")
    for session in sessions:
        end(session)
        click.echo(f"ended {session['command']} in {session['namespace']} (pid {session['pid']})")
    if not sessions:
        click.echo("no sessions")
