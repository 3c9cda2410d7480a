"""`ktnet dns NAME [TYPE]`: how a name is decided and answered on this machine now."""

from __future__ import annotations

from typing import Any

import click

from ktnet.commands.options import output_option

TIMEOUT_S = 30.0
"""Each of up to half a dozen search domains may take as long as a dead nameserver."""

SERVERS = {
    "cluster": "the shadow's resolver, through the tunnel",
    "outside": "no nameserver answered",
    "nobody": "nobody is asked",
}
"""Who was asked, where no address of a nameserver tells it."""


@click.command()
@click.argument("name")
@click.argument("rtype", metavar="[TYPE]", default="A")
@click.option("--pid", type=int, help="Ask this session (default: the only one).")
@output_option("table", "json")
def dns(name: str, rtype: str, pid: int | None, output: str) -> None:
    """Show how NAME is decided and answered: who is asked, why, and what comes back.

    As programs do, it tries the search domains too, unless NAME ends with a dot. TYPE is A where
    none is given.
    """
    import json

    from ktnet.control import ask_session
    from ktnet.dns.names import parse_name
    from ktnet.dns.text import parse_type

    parse_name(name)
    qtype = parse_type(rtype)
    request = {"do": "dns", "name": name, "type": qtype}
    tries = ask_session(find_session(pid), request, timeout_s=TIMEOUT_S)["tries"]
    described = [describe_try(each) for each in tries]
    if output == "json":
        click.echo(json.dumps({"query": name, **described[-1], "tried": described[:-1]}, indent=2))
        return
    for each in described:
        show_try(each)


def find_session(pid: int | None) -> dict[str, Any]:
    """The session with this pid, or the only one there is."""
    from ktnet.control import list_sessions
    from ktnet.errors import NotFound, UsageError

    sessions = [session for session in list_sessions() if pid is None or session["pid"] == pid]
    if not sessions:
        what = "no session" if pid is None else f"no session with pid {pid}"
        raise NotFound(f"{what} on this machine", hint="ktnet connect starts one")
    if len(sessions) > 1:
        pids = ", ".join(str(session["pid"]) for session in sessions)
        raise UsageError(f"this machine has several sessions: {pids}", hint="say which: --pid PID")
    return sessions[0]


def describe_try(tried: dict[str, Any]) -> dict[str, Any]:
    """One name that was tried, as JSON says it."""
    from ktnet.dns.messages import parse_own_answer
    from ktnet.dns.text import format_rcode, format_records, format_type

    answer = parse_own_answer(bytes.fromhex(tried["answer"]))
    records: dict[str, list[dict[str, Any]]] = {"answer": [], "authority": [], "additional": []}
    for each in format_records(answer):
        records[each.section].append(
            {"name": each.name, "ttl": each.ttl_s, "type": each.rtype, "data": each.data}
        )
    return {
        "name": tried["name"],
        "type": format_type(tried["qtype"]),
        "zone": tried["zone"],
        "policy": tried["rule"],
        "asked": tried["asked"],
        "server": tried["server"],
        "cached": tried["cached"],
        "time_ms": round(tried["time_s"] * 1000, 3),
        "rcode": format_rcode(answer.rcode),
        **records,
    }


def show_try(described: dict[str, Any]) -> None:
    """One name that was tried, for people."""
    click.echo(f"{described['name']} {described['type']}")
    click.echo(f"  policy  {described['zone']}: {described['policy']}")
    server = described["server"] or SERVERS[described["zone"]]
    source = f"from memory ({server})" if described["cached"] else server
    click.echo(f"  asked   {described['asked']}  {source}")
    click.echo(f"  answer  {described['rcode']}  {described['time_ms']:.1f} ms")
    rows = [each for section in ("answer", "authority") for each in described[section]]
    for row in rows:
        click.echo(f"          {row['name']}  {row['ttl']}  {row['type']}  {row['data']}")
