"""What an exchange is about: a workload and the Services in front of it, as the user names them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ktnet.cluster.labels import is_managed
from ktnet.cluster.server.api import Api
from ktnet.cluster.server.review import require_namespace
from ktnet.errors import NotFound, UsageError
from ktnet.wire import meshrecord

Json = dict[str, Any]

KINDS = {
    "deployment": "deployments",
    "deploy": "deployments",
    "statefulset": "statefulsets",
    "sts": "statefulsets",
    "service": "services",
    "svc": "services",
}
"""As kubectl knows them, singular and short."""

GITOPS_MARKS = {
    "argocd.argoproj.io/instance": "Argo CD",
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
}
"""Labels and annotations by which these mark what they keep as it stands in a repository.
https://argo-cd.readthedocs.io/en/stable/user-guide/resource_tracking/
https://fluxcd.io/flux/components/kustomize/kustomizations/"""


@dataclass(frozen=True, slots=True)
class Subject:
    """An object of the user's that is to be changed."""

    plural: Literal["deployments", "statefulsets", "services"]
    obj: Json

    @property
    def name(self) -> str:
        """Of the object."""
        return str(self.obj["metadata"]["name"])

    @property
    def title(self) -> str:
        """For people: "deployment/tomcat"."""
        return f"{self.plural.removesuffix('s')}/{self.name}"

    @property
    def pod_labels(self) -> dict[str, str]:
        """Of the pods that it makes (a workload), or sends traffic to (a Service)."""
        if self.plural == "services":
            return dict(self.obj["spec"].get("selector") or {})
        return dict(self.obj["spec"]["template"]["metadata"].get("labels") or {})

    @property
    def pod_spec(self) -> Json:
        """Of the pods that it makes; empty for a Service."""
        return dict(self.obj["spec"].get("template", {}).get("spec") or {})

    @property
    def replicas(self) -> int:
        """What it asks for; 1 where it says nothing."""
        return int(self.obj["spec"].get("replicas", 1))


async def find_subject(api: Api, namespace: str, text: str, *, services: bool = False) -> Subject:
    """What `text` names: `tomcat`, `deployment/tomcat`, `sts/db`; with `services`, those as well.

    A bare name is looked for among the kinds in that order. Raises NotFound, UsageError for a
    kind that can't be exchanged, Forbidden where none of the kinds may be read.
    """
    kind, slash, name = text.partition("/")
    wanted = ["deployments", "statefulsets", *(["services"] if services else [])]
    if slash:
        plural = KINDS.get(kind.lower().removesuffix("s")) or KINDS.get(kind.lower())
        if plural not in wanted or not name:
            raise UsageError(
                f"{text}: a {kind or 'nameless kind'} can't be exchanged"
                + (" in this mode" if plural == "services" else ""),
                hint="deployment/NAME or statefulset/NAME"
                + ("" if not services else " or service/NAME")
                + (", and service/NAME with --mode selector" if plural == "services" else ""),
            )
        wanted, text = [plural], name
    for plural in wanted:
        try:
            return Subject(plural, await api.get(plural, text, namespace=namespace))  # type: ignore[arg-type]
        except NotFound:
            continue
    await require_namespace(api, namespace)
    kinds = " or ".join(plural.removesuffix("s") for plural in wanted)
    raise NotFound(
        f"namespace {namespace} has no {kinds} called {text}",
        hint=f"kubectl get {','.join(wanted)} -n {namespace}",
    )


async def find_services(api: Api, namespace: str, labels: Mapping[str, str]) -> list[Json]:
    """The Services that send traffic to pods with these labels."""
    listing = await api.list_all("services", namespace=namespace)
    return [each for each in listing["items"] if is_selected(each, labels)]


async def find_front_services(api: Api, namespace: str, labels: Mapping[str, str]) -> list[Json]:
    """The users' own Services in front of such pods, those with a router in between included."""
    listing = await api.list_all("services", namespace=namespace)
    return [
        each
        for each in listing["items"]
        if is_selected({"spec": {"selector": find_original_selector(each)}}, labels)
        and not is_managed(each)
    ]


def find_original_selector(service: Json) -> dict[str, str]:
    """The Service's own; where it is meshed, the one that it had."""
    try:
        meshed = meshrecord.parse_record(service)
    except ValueError:
        meshed = None
    if meshed is not None:
        return dict(meshed[1].selector)
    return dict(service.get("spec", {}).get("selector") or {})


def is_selected(service: Json, labels: Mapping[str, str]) -> bool:
    """Whether the Service's selector takes pods with these labels; an empty one takes none."""
    selector = service.get("spec", {}).get("selector") or {}
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def find_gitops(obj: Json) -> Iterator[str]:
    """Who would put the object back as it stands in a repository."""
    metadata = obj["metadata"]
    marks = {**(metadata.get("labels") or {}), **(metadata.get("annotations") or {})}
    yield from dict.fromkeys(who for mark, who in GITOPS_MARKS.items() if mark in marks)


async def find_autoscaler(api: Api, namespace: str, subject: Subject) -> str | None:
    """The HorizontalPodAutoscaler that keeps the workload's size. Raises Forbidden."""
    kind = {"deployments": "Deployment", "statefulsets": "StatefulSet"}[subject.plural]
    listing = await api.list_all("horizontalpodautoscalers", namespace=namespace)
    for each in listing["items"]:
        target = each.get("spec", {}).get("scaleTargetRef", {})
        if (target.get("kind"), target.get("name")) == (kind, subject.name):
            return str(each["metadata"]["name"])
    return None
