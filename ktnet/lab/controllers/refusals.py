"""Events of what a controller was not allowed to make: how a user learns that there is no pod.

As client-go's tools/record makes them (recorded in 09-podsecurity/deployment-offending-events);
those of one owner are one that is counted up, for the pods' generated names differ.
"""

from __future__ import annotations

from datetime import datetime

from ktnet.lab.api.errors import ApiError
from ktnet.lab.api.store import Store
from ktnet.lab.controllers.action import Action, Create, apply_action, find
from ktnet.lab.controllers.kind import Obj, format_time


def apply_for(store: Store, owner: Obj, action: Action, component: str, now: datetime) -> None:
    """Does it for `owner`; what can't be created is an Event as well. Raises the store's ApiError.

    `component` is the controller's name ("job-controller").
    """
    try:
        apply_action(store, action)
    except ApiError as error:
        if isinstance(action, Create):
            _record(store, build_event(owner, error.message, component, now))
        raise


def build_event(owner: Obj, why: str, component: str, now: datetime) -> Obj:
    """FailedCreate, as pkg/controller/controller_utils.go says it."""
    meta = owner["metadata"]
    return {
        "metadata": {
            "name": f"{meta['name']}.{meta['uid'].replace('-', '')[:16]}",
            "namespace": meta["namespace"],
        },
        "involvedObject": {
            "kind": owner["kind"],
            "namespace": meta["namespace"],
            "name": meta["name"],
            "uid": meta["uid"],
            "apiVersion": owner["apiVersion"],
            "resourceVersion": meta["resourceVersion"],
        },
        "reason": "FailedCreate",
        "message": f"Error creating: {why}",
        "source": {"component": component},
        "firstTimestamp": format_time(now),
        "lastTimestamp": format_time(now),
        "count": 1,
        "type": "Warning",
        "eventTime": None,
        "reportingComponent": component,
        "reportingInstance": "",
    }


def _record(store: Store, event: Obj) -> None:
    meta = event["metadata"]
    known = find(store, "events", meta["namespace"], meta["name"])
    if known is None:
        store.create("events", meta["namespace"], event)
        return
    patch = {
        "count": known["count"] + 1,
        "message": event["message"],
        "lastTimestamp": event["lastTimestamp"],
    }
    store.patch("events", meta["namespace"], meta["name"], patch)
