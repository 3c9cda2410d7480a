"""05-ownership: what goes with its owner, what stays, and which owners are no owners.

The garbage collector of the lab runs beside it.
"""

from __future__ import annotations

import dataclasses
import json
import re

from controllers import open_controllers, wait_until
from live import LiveLab
from live_ownership import CASES, replay_ownership
from replaying import Folder, Lab, settle_object
from scene import add_shown, build_cluster
from verdicts import MATCHED, WRONG, Verdict

from ktnet.lab.controllers.garbage import GarbageCollector

FOLDER = "05-ownership"
MATCHED_AT_LEAST = 21
LISTED: dict[str, str] = {}
LIVE = CASES


async def replay_live(lab: LiveLab) -> None:
    await replay_ownership(lab)


NAMESPACE = "transcripts"


async def replay(folder: Folder) -> None:
    for scene in (references, background, foreground, orphan):
        async with folder.open_lab(build_cluster(folder)) as lab:
            await scene(lab)


async def references(lab: Lab) -> None:
    """References that are refused, and one to an owner that doesn't exist."""
    lengthen_names(lab.folder, "ownerref-two-controllers")
    for name in ("ownerref-incomplete", "ownerref-two-controllers", "job-ttl-create"):
        await lab.replay(name)
    await lab.replay("secret-with-absent-owner-create")
    fate = "secret-with-absent-owner-fate"
    recorded = lab.folder.cases[fate].document["observed"]
    place = ("secrets", lab.name(NAMESPACE), lab.name("absent-owner"))
    async with open_controllers(lab, GarbageCollector(lab.store)):
        await wait_until(lambda: not lab.store.has(*place))
    gone = recorded.startswith("gone after")
    lab.folder.record(fate, Verdict(MATCHED if gone else WRONG, (recorded,)))


def lengthen_names(folder: Folder, name: str) -> None:
    """Owners of one letter: in the quoted JSON of a message that would be taken for a value."""
    case = folder.cases[name]
    text = json.dumps(case.document)
    for letter in "ab":
        quoted = rf'(?<=name\\":\\"){letter}(?=\\")|(?<="name": "){letter}(?=")'
        text = re.sub(rf"{quoted}|(?<=Job/){letter}\b", f"job-{letter}", text)
    folder.cases[name] = dataclasses.replace(case, document=json.loads(text))


async def background(lab: Lab) -> None:
    add_job(lab, "job-gcfg-delete-call", name="gcbg", answer="job-gcbg-delete-call")
    await lab.replay("job-gcbg-delete-call")


async def foreground(lab: Lab) -> None:
    for name in ("job-gcfg-delete-call", "job-gcfgblock-delete-call"):
        add_job(lab, name)
        await lab.replay(name)


async def orphan(lab: Lab) -> None:
    """By default and where it is asked for: a Job's dependents stay, and are nobody's."""
    for policy, secret in (("gcdefault", "default-secret-after"), ("gcorphan", "orphaned-secret")):
        name = f"job-{policy}-delete-call"
        job = add_job(lab, name)
        add_dependent(lab, lab.folder.cases[secret].answer, job)
        pods = lab.folder.cases["orphaned-pods"].answer["items"] if policy == "gcorphan" else []
        for pod in pods:
            add_dependent(lab, {"kind": "Pod", "apiVersion": "v1", **pod}, job)
        await lab.replay(name)
        place = ("jobs", lab.name(NAMESPACE), job["metadata"]["name"])
        async with open_controllers(lab, GarbageCollector(lab.store)):
            await wait_until(lambda place=place: not lab.store.has(*place))
        await lab.replay(secret)
    await lab.replay("orphaned-pods")


def add_job(lab: Lab, shown: str, *, name: str = "", answer: str = "") -> dict:
    """The Job of a recorded answer, as it was before that request; perhaps under another name."""
    recorded = lab.folder.cases[shown].answer
    given = lab.given(recorded)
    label, template = given["metadata"]["labels"]["app"], given["spec"]["template"]
    called = lab.name(name) if name else given["metadata"]["name"]
    labels = {"app": lab.name(name) if name else label}
    spec = {
        "backoffLimit": given["spec"]["backoffLimit"],
        "template": {"metadata": {"labels": labels}, "spec": template["spec"]},
    }
    job = lab.store.create(
        "jobs", lab.name(NAMESPACE), {"metadata": {"name": called}, "spec": spec}
    )
    shown_uid = lab.folder.cases[answer].answer["details"] if answer else recorded["metadata"]
    lab.bindings.put("uid", shown_uid["uid"], job["metadata"]["uid"])
    settle_object(lab, {"kind": "Job", "metadata": job["metadata"], "status": given["status"]})
    return job


def add_dependent(lab: Lab, recorded: dict, job: dict) -> None:
    """What a recording shows without an owner, as it was with one."""
    meta = job["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"]}
    owned = {**recorded["metadata"], "ownerReferences": [owner]}
    add_shown(lab, {**recorded, "metadata": owned})
