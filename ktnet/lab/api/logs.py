"""pods/log: which container, which lines.

kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#get-read-log-of-the-specified-pod
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ktnet.lab.api.errors import Obj, bad_request, invalid
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.query import parse_bool
from ktnet.lab.api.runtime import ContainerLog, LogLine


@dataclass(frozen=True)
class LogOptions:
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since_ns: int = 0
    """Nanoseconds since the epoch."""


def parse_log_options(query: Mapping[str, str], now_ns: int) -> LogOptions:
    """Raises ApiError 400 or 422."""
    check = FieldCheck()
    tail, limit = _parse(query, "tailLines"), _parse(query, "limitBytes")
    since_s = _parse(query, "sinceSeconds")
    check.not_negative("tailLines", tail)
    for key, value in (("limitBytes", limit), ("sinceSeconds", since_s)):
        if value is not None and value < 1:
            check.invalid(key, value, "must be greater than 0")
    if check.causes:
        raise invalid("", "PodLogOptions", "", check.causes)
    since_ns = now_ns - since_s * 10**9 if since_s else 0
    if query.get("sinceTime"):
        try:
            moment = datetime.fromisoformat(query["sinceTime"])
        except ValueError as error:
            raise bad_request(f"sinceTime: {error}") from error
        since_ns = int(moment.timestamp() * 10**9)
    return LogOptions(
        follow=parse_bool(query.get("follow", "")),
        previous=parse_bool(query.get("previous", "")),
        timestamps=parse_bool(query.get("timestamps", "")),
        tail_lines=tail,
        limit_bytes=limit,
        since_ns=since_ns,
    )


def _parse(query: Mapping[str, str], key: str) -> int | None:
    text = query.get(key, "")
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def choose_container(pod: Obj, name: str) -> str:
    """The container that is meant: the only one, where none is named; raises ApiError 400."""
    pod_name, spec = pod["metadata"]["name"], pod["spec"]
    names = [each["name"] for each in spec["containers"]]
    initial = [each["name"] for each in spec.get("initContainers") or []]
    if name:
        if name not in {*names, *initial}:
            raise bad_request(f"container {name} is not valid for pod {pod_name}")
        return name
    if len(names) == 1 and not initial:
        return str(names[0])
    choices = f"choose one of: [{' '.join(names)}]"
    if initial:
        choices += f" or one of the init containers: [{' '.join(initial)}]"
    raise bad_request(f"a container name must be specified for pod {pod_name}, {choices}")


def check_container_runs(pod: Obj, container: str, *, previous: bool) -> None:
    """Whether there is a log to read; raises ApiError 400, as the kubelet does."""
    pod_name = pod["metadata"]["name"]
    status = find_container_status(pod, container)
    ended_before = (status.get("lastState") or {}).get("terminated")
    if previous:
        if not ended_before:
            raise bad_request(
                f'previous terminated container "{container}" in pod "{pod_name}" not found'
            )
        return
    state = status.get("state") or {}
    if "running" in state or "terminated" in state or ended_before:
        return
    reason = (state.get("waiting") or {}).get("reason", "ContainerCreating")
    why = {
        "ErrImagePull": "image can't be pulled",
        "ImagePullBackOff": "trying and failing to pull image",
    }.get(reason, reason)
    raise bad_request(f'container "{container}" in pod "{pod_name}" is waiting to start: {why}')


def find_container_status(pod: Obj, container: str) -> Obj:
    status = pod.get("status", {})
    for key in ("containerStatuses", "initContainerStatuses"):
        for each in status.get(key) or []:
            if each["name"] == container:
                return dict(each)
    return {}


def select_lines(lines: Sequence[LogLine], options: LogOptions) -> list[LogLine]:
    selected = [line for line in lines if line[0] >= options.since_ns]
    if options.tail_lines is not None:
        selected = selected[-options.tail_lines :] if options.tail_lines else []
    return selected


def format_line(line: LogLine, options: LogOptions) -> bytes:
    if not options.timestamps:
        return line[1]
    seconds, fraction = divmod(line[0], 10**9)
    moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{moment}.{fraction:09d}Z ".encode() + line[1]


async def read_log(log: ContainerLog, options: LogOptions) -> AsyncIterator[bytes]:
    """What the client gets, piece by piece."""
    left = options.limit_bytes
    kept = select_lines(log.lines, options)
    newer = log.follow() if options.follow else None
    if kept:
        data = b"".join(format_line(line, options) for line in kept)[:left]
        left = None if left is None else left - len(data)
        yield data
    if newer is None:
        return
    async for line in newer:
        if left is not None and left <= 0:
            return
        data = format_line(line, options)[:left]
        left = None if left is None else left - len(data)
        yield data


def now_ns() -> int:
    return time.time_ns()
