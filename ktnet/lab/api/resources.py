"""The table of everything that the lab's API server serves from the start. Pure.

Names, verbs and subresources are those of a real API server's discovery documents; what is not
in this table is answered by 404, what is in it but not built by 501.
"""

from __future__ import annotations

from dataclasses import dataclass

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
NO_COLLECTION = ("create", "delete", "get", "list", "patch", "update", "watch")
PART = ("get", "patch", "update")


@dataclass(frozen=True)
class Subresource:
    """A part of an object with a path of its own."""

    name: str
    verbs: tuple[str, ...]
    kind: str = ""
    """Where it differs from the object's own."""
    group: str = ""
    version: str = ""


@dataclass(frozen=True)
class Resource:
    """One kind of object and where it lives."""

    plural: str
    kind: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    verbs: tuple[str, ...] = ALL_VERBS
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    singular: str = ""
    deprecation: str = ""
    """What a Warning header says whenever it is used."""
    stored: bool = True
    """False for questions that are answered and forgotten."""
    custom: bool = False
    """Added by a CustomResourceDefinition."""

    @property
    def key(self) -> str:
        """By which all its versions are stored: the plural name, unless a user chose that."""
        return f"{self.plural}.{self.group}" if self.custom else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular_name(self) -> str:
        return self.singular or self.kind.lower()

    def subresource(self, name: str) -> Subresource | None:
        return next((each for each in self.subresources if each.name == name), None)


RBAC = "rbac.authorization.k8s.io"


def _review(plural: str, kind: str, group: str, *, namespaced: bool = False) -> Resource:
    """A question that is asked by creating it."""
    return Resource(
        plural, kind, group=group, namespaced=namespaced, verbs=("create",), stored=False
    )


_STATUS = Subresource("status", PART)
_SCALE = Subresource("scale", PART, kind="Scale", group="autoscaling", version="v1")

RESOURCES: tuple[Resource, ...] = (
    Resource("configmaps", "ConfigMap", short_names=("cm",)),
    Resource(
        "endpoints",
        "Endpoints",
        short_names=("ep",),
        singular="endpoints",
        deprecation="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    ),
    Resource("events", "Event", short_names=("ev",)),
    Resource("limitranges", "LimitRange", short_names=("limits",)),
    Resource(
        "namespaces",
        "Namespace",
        namespaced=False,
        verbs=NO_COLLECTION,
        short_names=("ns",),
        subresources=(Subresource("finalize", ("update",)), _STATUS),
    ),
    Resource("nodes", "Node", namespaced=False, short_names=("no",), subresources=(_STATUS,)),
    Resource(
        "pods",
        "Pod",
        short_names=("po",),
        categories=("all",),
        subresources=(
            Subresource("binding", ("create",), kind="Binding"),
            Subresource("eviction", ("create",), "Eviction", group="policy", version="v1"),
            Subresource("exec", ("create", "get"), kind="PodExecOptions"),
            Subresource("log", ("get",)),
            Subresource("portforward", ("create", "get"), kind="PodPortForwardOptions"),
            _STATUS,
        ),
    ),
    Resource("resourcequotas", "ResourceQuota", short_names=("quota",), subresources=(_STATUS,)),
    Resource("secrets", "Secret"),
    Resource(
        "serviceaccounts",
        "ServiceAccount",
        short_names=("sa",),
        subresources=(
            Subresource(
                "token", ("create",), "TokenRequest", group="authentication.k8s.io", version="v1"
            ),
        ),
    ),
    Resource(
        "services",
        "Service",
        short_names=("svc",),
        categories=("all",),
        subresources=(_STATUS,),
    ),
    Resource("controllerrevisions", "ControllerRevision", group="apps"),
    Resource(
        "deployments",
        "Deployment",
        group="apps",
        short_names=("deploy",),
        categories=("all",),
        subresources=(_SCALE, _STATUS),
    ),
    Resource(
        "replicasets",
        "ReplicaSet",
        group="apps",
        short_names=("rs",),
        categories=("all",),
        subresources=(_SCALE, _STATUS),
    ),
    Resource(
        "statefulsets",
        "StatefulSet",
        group="apps",
        short_names=("sts",),
        categories=("all",),
        subresources=(_SCALE, _STATUS),
    ),
    _review("selfsubjectreviews", "SelfSubjectReview", "authentication.k8s.io"),
    _review("tokenreviews", "TokenReview", "authentication.k8s.io"),
    _review(
        "localsubjectaccessreviews",
        "LocalSubjectAccessReview",
        "authorization.k8s.io",
        namespaced=True,
    ),
    _review("selfsubjectaccessreviews", "SelfSubjectAccessReview", "authorization.k8s.io"),
    _review("selfsubjectrulesreviews", "SelfSubjectRulesReview", "authorization.k8s.io"),
    _review("subjectaccessreviews", "SubjectAccessReview", "authorization.k8s.io"),
    Resource(
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        group="autoscaling",
        version="v2",
        short_names=("hpa",),
        categories=("all",),
        subresources=(_STATUS,),
    ),
    Resource("jobs", "Job", group="batch", categories=("all",), subresources=(_STATUS,)),
    Resource(
        "ingresses",
        "Ingress",
        group="networking.k8s.io",
        short_names=("ing",),
        subresources=(_STATUS,),
    ),
    Resource(
        "ipaddresses",
        "IPAddress",
        group="networking.k8s.io",
        namespaced=False,
        short_names=("ip",),
    ),
    Resource(
        "servicecidrs",
        "ServiceCIDR",
        group="networking.k8s.io",
        namespaced=False,
        subresources=(_STATUS,),
    ),
    Resource(
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        group="policy",
        short_names=("pdb",),
        subresources=(_STATUS,),
    ),
    Resource(
        "customresourcedefinitions",
        "CustomResourceDefinition",
        group="apiextensions.k8s.io",
        namespaced=False,
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        subresources=(_STATUS,),
    ),
    Resource("clusterrolebindings", "ClusterRoleBinding", group=RBAC, namespaced=False),
    Resource("clusterroles", "ClusterRole", group=RBAC, namespaced=False),
    Resource("rolebindings", "RoleBinding", group=RBAC),
    Resource("roles", "Role", group=RBAC),
    Resource("leases", "Lease", group="coordination.k8s.io"),
    Resource("endpointslices", "EndpointSlice", group="discovery.k8s.io"),
)
"""Those that every lab serves; `catalog` knows what was added since."""
