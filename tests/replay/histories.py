"""What became of each object, step by step, held against what became of a recorded one."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from comparing import Bindings, compare

HASH_LABEL = "pod-template-hash"
TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"


FUSED_S, FUSED_JOB_S = 0.2, 1.1
"""Two steps of one object that a recording shows closer together than this may be one: each comes
of another controller's write, and who looks a moment later sees both (the Job controller looks once
a second). Nothing else is let pass: no step that isn't recorded, and none in another order."""


NEVER = 2**63


class Step(NamedTuple):
    kind: str
    obj: Any
    at_s: float
    version: int
    """The cluster's: of all objects' steps the later one's is higher."""
    late: bool = False
    """A status of a kubelet that hadn't yet heard of the order to end."""


@dataclass
class History:
    """One object as a watch told of it, a step for each event."""

    name: str
    steps: list[Step] = field(default_factory=list)

    @property
    def generated(self) -> bool:
        """Whether a server or a controller made up the name."""
        meta = self.steps[0].obj["metadata"]
        return "generateName" in meta or HASH_LABEL in (meta.get("labels") or {})


def gather(events: Iterable[Any]) -> list[History]:
    """In the order in which the objects were first seen; each event {"type", "object", "t"}."""
    found: dict[str, History] = {}
    for event in events:
        meta = event["object"]["metadata"]
        if event["type"] == "BOOKMARK":
            continue
        history = found.setdefault(meta["uid"], History(meta["name"]))
        version = int(meta["resourceVersion"])
        late = bool(history.steps) and _is_late(history.steps[-1].obj, event["object"])
        step = Step(event["type"], settle(event["object"]), event["t"], version, late)
        if is_new(history.steps, step):
            history.steps.append(step)
    return list(found.values())


def is_new(steps: list[Step], step: Step) -> bool:
    """Whether a step shows anything that the last one didn't."""
    return not steps or step.kind != "MODIFIED" or steps[-1].obj != step.obj


def _is_late(before: Any, obj: Any) -> bool:
    generations = [each["metadata"].get("generation") for each in (before, obj)]
    seen = (obj.get("status") or {}).get("observedGeneration", generations[1])
    return generations[0] == generations[1] != seen


def settle(obj: Any) -> Any:
    """Without what tells of the machinery and not of the object.

    How often a controller or a kubelet has written (versions; of slices the generation too) and
    whether it had looked before (the trigger time) is a race of theirs; `status.resources` of a
    pod is what the recorded node's cgroups v1 said, a moment earlier or later.
    """
    meta = {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}
    if "annotations" in meta:
        notes = {k: v for k, v in meta["annotations"].items() if k != TRIGGER}
        meta = {**meta, "annotations": notes} if notes else _without(meta, "annotations")
    if obj["kind"] == "EndpointSlice":
        meta = _without(meta, "generation")
    obj = {**obj, "metadata": meta}
    if obj["kind"] == "Pod" and "resources" in obj["status"]:
        obj["status"] = _without(obj["status"], "resources")
    return obj


def _without(mapping: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in mapping.items() if k != key}


def pair(
    recorded: list[History], found: list[History]
) -> tuple[list[tuple[History, History]], list[str]]:
    """Which object stands for which: by name, or by their order where names are made up."""
    pairs, differences = [], []
    made_up = iter([each for each in found if each.generated])
    named = {each.name: each for each in found if not each.generated}
    for each in recorded:
        other = next(made_up, None) if each.generated else named.pop(each.name, None)
        if other is None:
            differences.append(f"{each.name} was never seen")
        else:
            pairs.append((each, other))
    surplus = [*named.values(), *made_up]
    differences += [f"{each.name} was seen, and nothing stands for it" for each in surplus]
    return pairs, differences


def translate(recorded: History, names: dict[str, str]) -> History:
    """A recorded history with the names that the lab made up."""
    if not names:
        return recorded
    longest = sorted(names, key=len, reverse=True)
    pattern = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest))})(?![\w])")
    steps = [
        each._replace(obj=json.loads(pattern.sub(lambda m: names[m[0]], json.dumps(each.obj))))
        for each in recorded.steps
    ]
    return History(names.get(recorded.name, recorded.name), steps)


def list_names(pairs: Iterable[tuple[History, History]]) -> dict[str, str]:
    """What a controller made up of a recorded name, and of the lab's."""
    names: dict[str, str] = {}
    for old, new in pairs:
        before, now = (each.steps[0].obj["metadata"] for each in (old, new))
        if old.generated:
            names[old.name] = new.name
        if HASH_LABEL in (before.get("labels") or {}):
            if "generateName" in before:
                names[before["generateName"].rstrip("-")] = now["generateName"].rstrip("-")
            names[before["labels"][HASH_LABEL]] = now["labels"][HASH_LABEL]
    return names


COUNTERS = ("terminatingReplicas", "terminating")
"""What a controller counts that lasts as long as a node takes to end a pod."""


def compare_histories(recorded: History, found: History, bindings: Bindings) -> list[str]:
    """What differs. Where it does in the whole, of a pod, which controllers and a kubelet write to,
    in each one's part alone (which of them was first is no property of the pod), and of what counts
    pods without those that are ending."""
    kind = recorded.steps[0].obj["kind"]
    parts: tuple[set[str], ...] = ()
    if kind == "Pod":
        parts = {"kind", "metadata", "spec"}, {"kind", "status"}
    elif kind in {"ReplicaSet", "Job"}:
        parts = ({"kind", "metadata", "spec", "status"},)
    trial = copy.deepcopy(bindings)
    differences = list(compare_steps(recorded, found, trial))
    if not differences or not parts:
        bindings.values = trial.values
        return differences
    differences = []
    for part in parts:
        of_part = [_project(each, part) for each in (recorded, found)]
        differences += compare_steps(*of_part, bindings)
    return differences


def _project(history: History, part: set[str]) -> History:
    steps: list[Step] = []
    for step in history.steps:
        obj = {k: v for k, v in step.obj.items() if k in part}
        if "status" in obj:
            obj["status"] = {k: v for k, v in obj["status"].items() if k not in COUNTERS}
        shown = step._replace(obj=obj)
        if is_new(steps, shown):
            steps.append(shown)
    return History(history.name, steps)


def compare_steps(recorded: History, found: History, bindings: Bindings) -> Iterator[str]:
    """What differs: a step that the recorded object never took, or one that this left out."""
    place, steps = 0, found.steps
    if recorded.steps[0].at_s < 0:
        steps = _skip_to(recorded.steps[0], steps, bindings)
    for number, step in enumerate(steps):
        ahead = _find(recorded, place, step, bindings)
        if ahead is None and _is_other_way_round(recorded, place, step, bindings):
            place += 1
            continue
        if ahead is None:
            nearest = recorded.steps[min(place, len(recorded.steps) - 1)]
            why = compare(nearest.obj, step.obj, copy.deepcopy(bindings)) or [nearest.kind]
            yield f"{found.name}: step {number}, {step.kind}, was not recorded: {why[:4]}"
            continue
        yield from _list_left_out(recorded, place, ahead, found.name)
        place = ahead + 1
    yield from _list_left_out(recorded, place, len(recorded.steps), found.name)


def _skip_to(wanted: Step, steps: list[Step], bindings: Bindings) -> list[Step]:
    """What was there already when it was recorded: how it came to be was not."""
    for number, step in enumerate(steps):
        if not compare(wanted.obj, step.obj, copy.deepcopy(bindings)):
            return [step._replace(kind=wanted.kind), *steps[number + 1 :]]
    return steps


def _find(recorded: History, place: int, step: Step, bindings: Bindings) -> int | None:
    """The next recorded step that this is; binds what stands for what in it."""
    for ahead in range(place, len(recorded.steps)):
        wanted = recorded.steps[ahead]
        if wanted.kind == step.kind and any(
            not compare(obj, step.obj, trial := copy.deepcopy(bindings))
            for obj in _list_states(recorded.steps, ahead)
        ):
            bindings.values = trial.values
            return ahead
    return None


def _is_other_way_round(recorded: History, place: int, step: Step, bindings: Bindings) -> bool:
    """Of two endpoints that a recording changes at once the other one's change came first: each is
    as it was before the first change, or as it is after the second."""
    if step.obj["kind"] != "EndpointSlice" or not _may_be_missed(recorded.steps, place):
        return False
    known = [
        endpoint
        for each in (recorded.steps[place - 1], recorded.steps[place + 1])
        for endpoint in each.obj["endpoints"] or []
    ]
    around = {**recorded.steps[place].obj, "endpoints": None}
    alike = not compare(around, {**step.obj, "endpoints": None}, copy.deepcopy(bindings))
    return alike and all(
        any(not compare(each, endpoint, copy.deepcopy(bindings)) for each in known)
        for endpoint in step.obj["endpoints"] or []
    )


def _list_states(steps: list[Step], number: int) -> Iterator[Any]:
    """What was seen at a step; of an end also what was so shortly before it that it can be so."""
    yield steps[number].obj
    if steps[number].kind == "DELETED":
        while number > 1 and steps[number].at_s - steps[number - 1].at_s < FUSED_S:
            number -= 1
            yield steps[number - 1].obj


def _list_left_out(recorded: History, start: int, end: int, name: str) -> Iterator[str]:
    for number in range(start, end):
        if not _may_be_missed(recorded.steps, number):
            yield f"{name}: {describe(recorded, number)} is missing"


def _may_be_missed(steps: list[Step], number: int) -> bool:
    """See FUSED_S; or it came too late to count."""
    step, later = steps[number], steps[number + 1 : number + 2]
    if not later or step.kind == "DELETED" or number == 0:
        return False
    fused_s = FUSED_JOB_S if step.obj["kind"] == "Job" else FUSED_S
    return step.late or later[0].at_s - step.at_s < fused_s


def compare_order(pairs: list[tuple[History, History]]) -> Iterator[str]:
    """Where an object that owns another, and that one, were told to end or ended in another order.

    An owner's order comes before that of what it owns or after; the end of one that waits (for what
    has blockOwnerDeletion) after its end. Between others only the clock decides.
    """
    by_uid = {old.steps[0].obj["metadata"]["uid"]: (old, new) for old, new in pairs}
    for old, new in pairs:
        for reference in old.steps[0].obj["metadata"].get("ownerReferences") or []:
            if reference["uid"] not in by_uid:
                continue
            owner, its_owner = by_uid[reference["uid"]]
            waits = bool(reference.get("blockOwnerDeletion"))
            for when in (find_order, find_end)[: 1 + waits]:
                then, now = when(owner) < when(old), when(its_owner) < when(new)
                if then != now:
                    yield f"{new.name} and {its_owner.name}: other order of {when.__name__}"


def find_order(history: History) -> int:
    """At which version of the cluster it was told to end."""
    ends = (
        s for s in history.steps if "deletionTimestamp" in s.obj["metadata"] or s.kind == "DELETED"
    )
    return next((step.version for step in ends), NEVER)


def find_end(history: History) -> int:
    """At which version of the cluster it was gone."""
    return next((s.version for s in history.steps if s.kind == "DELETED"), NEVER)


def describe(history: History, number: int) -> str:
    """A step by what it changed."""
    step = history.steps[number]
    if number == 0:
        return step.kind
    return f"{step.kind} {' '.join(_changes(history.steps[number - 1].obj, step.obj))}"[:300]


def _changes(before: Any, now: Any, path: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            yield from _changes(before.get(key), now.get(key), f"{path}.{key}")
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _changes(one, other, f"{path}[{number}]")
    elif before != now:
        yield f"{path}={json.dumps(now)}"


def forget_race(
    old: History, new: History, pairs: list[tuple[History, History]]
) -> tuple[History, History]:
    """Of a slice whose Service is told to end, or whose Service's owner is, without what comes
    between that and its own end.

    It may still be told that its pods end too, or not: of two recordings one shows it,
    job-gcfgblock, and one doesn't, job-gcfg.
    """
    above = list_above(old, pairs)
    if old.steps[0].obj["kind"] != "EndpointSlice" or not above:
        return old, new
    orders = [min(map(find_order, histories)) for histories in zip(*above, strict=True)]
    return _cut(old, orders[0]), _cut(new, orders[1])


def list_above(old: History, pairs: list[tuple[History, History]]) -> list[tuple[History, History]]:
    """What owns an object, and what owns that, as far as it was watched."""
    references = old.steps[0].obj["metadata"].get("ownerReferences") or []
    uids = {reference["uid"] for reference in references}
    owners = [each for each in pairs if each[0].steps[0].obj["metadata"]["uid"] in uids]
    return [*owners, *(above for owner in owners for above in list_above(owner[0], pairs))]


def _cut(history: History, version: int) -> History:
    kept = [step for step in history.steps if step.version <= version]
    ends = [
        step._replace(obj=kept[-1].obj if kept else step.obj)
        for step in history.steps
        if step.version > version and step.kind == "DELETED"
    ]
    return History(history.name, [*kept, *ends])


def compare_watches(
    recorded: dict[str, list[Any]], found: dict[str, list[Any]], bindings: Bindings
) -> dict[str, list[str]]:
    """What differs in each watch's objects, the order among all of them under the name ""."""
    differences: dict[str, list[str]] = {}
    pairs: dict[str, list[tuple[History, History]]] = {}
    for watch, events in recorded.items():
        pairs[watch], differences[watch] = pair(gather(events), gather(found[watch]))
    flat = [each for watch in pairs.values() for each in watch]
    names = list_names(flat)
    for old, new in flat:
        bindings.put("uid", *(each.steps[0].obj["metadata"]["uid"] for each in (old, new)))
    for watch, histories in pairs.items():
        for old, new in histories:
            known, found_now = forget_race(old, new, flat)
            differences[watch] += compare_histories(translate(known, names), found_now, bindings)
    differences[""] = list(compare_order(flat))
    return differences
