"""This machine's sessions, read and put into words."""

from __future__ import annotations

from typing import Any

import click

from ktnet.commands.words import describe_bytes, describe_seconds, show_table

MOST_CONNECTIONS = 20
LIVE_TIME_S = 2.0

Json = dict[str, Any]


def read_sessions(*, connections: bool) -> list[Json]:
    """As `ktnet.control.list_sessions`, each with "round_trip_s" (None where no answer came) and,
    where wanted, "connections", which have carried most."""
    from ktnet.control import list_sessions

    return [{**each, **_read_live(each, connections=connections)} for each in list_sessions()]


def _read_live(session: Json, *, connections: bool) -> Json:
    """Empty for one that doesn't answer, is of another version, or is just ending."""
    from ktnet.control import ask_session
    from ktnet.errors import KtnetError

    if session.get("state") == "not answering":
        return {}
    request = {"do": "live", "flows": MOST_CONNECTIONS if connections else 0}
    try:
        told = ask_session(session, request, timeout_s=LIVE_TIME_S)
    except KtnetError:
        return {}
    live = {"round_trip_s": told.get("round_trip_s")}
    return live | ({"connections": _name_processes(told.get("flows", []))} if connections else {})


def _name_processes(flows: list[Json]) -> list[Json]:
    from ktnet.dashboard.naming import read_connection
    from ktnet.dashboard.processes import ProcessNames

    ends = [read_connection(flow) for flow in flows]
    names = ProcessNames().find(ends) if ends else {}
    return [{**flow, "process": names.get(end, "")} for flow, end in zip(flows, ends, strict=True)]


def show_sessions(sessions: list[Json], *, wide: bool) -> None:
    """A table, a few lines for each, and the connections."""
    if not sessions:
        click.echo("no sessions")
        return
    columns = ("pid", "command", "namespace", "state", "since", "context")
    show_table((*columns, "session", "pod", "via", "ssh") if wide else columns, sessions)
    for session in sessions:
        for what, text in describe_session(session):
            click.echo(f"pid {session['pid']} {what}: {text}")
    rows = [
        build_connection_row(session["pid"], each)
        for session in sessions
        for each in session.get("connections", ())
    ]
    if rows:
        click.echo("\nconnections:")
        show_table(("pid", "process", "to", "state", "up", "down", "age"), rows)


def describe_session(session: Json) -> list[tuple[str, str]]:
    """What there is to say of it: a word for it, and the line."""
    told = []
    if subject := describe_subject(session):
        told.append(("leads", subject))
    if "tunnel" in session:
        told.append(("tunnel", describe_tunnel(session["tunnel"], session.get("round_trip_s"))))
    if "flows" in session:
        told.append(("traffic", describe_traffic(session["flows"])))
    if not session.get("icmp_errors", True):
        from ktnet.session.state import WITHOUT_ICMP

        told.append(("firewall", WITHOUT_ICMP))
    if "dns" in session:
        told.append(("names", describe_names(session["dns"])))
    return told


def describe_subject(session: Json) -> str:
    """What comes by this session, and where it comes to; empty where that is no single thing."""
    if "proxy" in session:
        return f"SOCKS5 and HTTP on {session['proxy']} -> the cluster"
    if session.get("forwards"):
        return ", ".join(session["forwards"])
    what = session.get("exchanged") or session.get("name")
    if not what:
        return ""
    marked = f" with `{session['mark']}`" if session.get("mark") else ""
    ports = ", ".join(
        f"port {each['port']} -> {each['local']}"
        + ("" if each["listening"] else " (nothing listens there)")
        for each in session.get("exposed", ())
    )
    return f"{what}{marked}, {ports}"


def describe_tunnel(tunnel: Json, round_trip_s: float | None) -> str:
    """How the tunnel is, and how often it has come back."""
    told = f"{tunnel['state']} since {tunnel['since']}, {tunnel['reconnects']} reconnects"
    if round_trip_s is not None:
        told += f", round trip {describe_seconds(round_trip_s)}"
    return f"{told}; last: {tunnel['reason']}" if tunnel["reason"] else told


def describe_traffic(counts: dict[str, int]) -> str:
    """How many connections there are, and what they have carried."""
    return (
        f"{counts['flows_open']} connections open, {counts['flows_total']} in all, "
        f"{counts['flows_failed']} failed; {describe_bytes(counts['bytes_up'])} up, "
        f"{describe_bytes(counts['bytes_down'])} down"
    )


def describe_names(counts: dict[str, int]) -> str:
    """How many queries there were for whose names, and what became of them."""
    zones = (
        f"{zone} {counts[zone]} ({counts[f'{zone}_cached']} from memory, "
        f"{counts[f'{zone}_failures']} failed)"
        for zone in ("cluster", "outside")
    )
    return f"{counts['queries']} queries; {', '.join(zones)}"


def build_connection_row(pid: int, flow: Json) -> dict[str, str]:
    """Of what comes from the cluster, "to" says who called, and where here."""
    (address, port), (here, here_port) = flow["destination"], flow["source"]
    to = f"{address}:{port}"
    if flow.get("inbound"):
        to = f"port {port} here, from {here}:{here_port}"
    return {
        "pid": str(pid),
        "process": flow["process"] or "-",
        "to": to,
        "state": flow["state"],
        "up": describe_bytes(flow["bytes_up"]),
        "down": describe_bytes(flow["bytes_down"]),
        "age": f"{flow['age_s']:.0f} s",
    }
