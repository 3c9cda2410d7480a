"""What the sessions say, in Prometheus' text format. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/, names by
https://prometheus.io/docs/practices/naming/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Json = dict[str, Any]

CONTENT_TYPE = "text/plain; version=0.0.4"

_LABELS = ("pid", "command", "namespace")


def build_metrics(sessions: Iterable[Json], round_trips_s: Mapping[str, float | None]) -> bytes:
    """Of sessions as `ktnet status -o json` lists them, with "key"; `round_trips_s` by that key."""
    registry = CollectorRegistry()
    registry.register(_Sessions(list(sessions), round_trips_s))
    return generate_latest(registry)


class _Sessions(Collector):
    def __init__(self, sessions: list[Json], round_trips_s: Mapping[str, float | None]) -> None:
        self._sessions = sessions
        self._round_trips_s = round_trips_s

    def collect(self) -> Iterator[Metric]:
        """All metrics, each of all sessions."""
        yield self._gauge(
            "up", "Whether the tunnel is connected.", lambda each: each.get("state") == "connected"
        )
        yield self._gauge(
            "start_time_seconds", "When the session began (Unix time).", _read_start_s
        )
        yield self._gauge(
            "round_trip_seconds",
            "To the shadow and back.",
            lambda each: self._round_trips_s.get(each["key"]),
        )
        yield self._gauge("flows_open", "Connections that are open.", _at("flows", "flows_open"))
        yield self._counter("flows", "Attempts to connect.", _at("flows", "flows_total"))
        yield self._counter(
            "flows_failed",
            "Attempts that the far side could not connect.",
            _at("flows", "flows_failed"),
        )
        yield self._counter(
            "tunnel_reconnects", "How often it came back.", _at("tunnel", "reconnects")
        )
        yield self._split(
            "bytes",
            "Octets carried.",
            "direction",
            {"up": _at("flows", "bytes_up"), "down": _at("flows", "bytes_down")},
        )
        zones = ("cluster", "outside")
        yield self._split(
            "dns_queries",
            "Names asked, by whose they are.",
            "zone",
            {zone: _at("dns", zone) for zone in zones},
        )
        yield self._split(
            "dns_failures",
            "Names that nobody answered.",
            "zone",
            {zone: _at("dns", f"{zone}_failures") for zone in zones},
        )

    def _gauge(self, name: str, text: str, read: Any) -> Metric:
        return self._fill(GaugeMetricFamily(f"ktnet_session_{name}", text, labels=_LABELS), read)

    def _counter(self, name: str, text: str, read: Any) -> Metric:
        return self._fill(CounterMetricFamily(f"ktnet_session_{name}", text, labels=_LABELS), read)

    def _fill(self, family: Any, read: Any) -> Metric:
        for each in self._sessions:
            if (value := read(each)) is not None:
                family.add_metric(_read_labels(each), float(value))
        return family  # type: ignore[no-any-return]

    def _split(self, name: str, text: str, label: str, reads: Mapping[str, Any]) -> Metric:
        family = CounterMetricFamily(f"ktnet_session_{name}", text, labels=(*_LABELS, label))
        for each in self._sessions:
            for value, read in reads.items():
                if (count := read(each)) is not None:
                    family.add_metric((*_read_labels(each), value), float(count))
        return family


def _at(group: str, key: str) -> Any:
    return lambda each: (each.get(group) or {}).get(key)


def _read_labels(session: Json) -> list[str]:
    return [str(session.get(label, "")) for label in _LABELS]


def _read_start_s(session: Json) -> float | None:
    try:
        return datetime.fromisoformat(session["since"]).timestamp()
    except (KeyError, ValueError):
        return None
