"""Which kind follows which rules."""

from __future__ import annotations

from collections.abc import Mapping

from ktnet.lab.api.strategies.autoscaling import HorizontalPodAutoscalerStrategy
from ktnet.lab.api.strategies.cluster import NamespaceStrategy, NodeStrategy, ServiceCidrStrategy
from ktnet.lab.api.strategies.coordination import EventStrategy, LeaseStrategy
from ktnet.lab.api.strategies.custom import DefinitionStrategy
from ktnet.lab.api.strategies.data import (
    ConfigMapStrategy,
    SecretStrategy,
    ServiceAccountStrategy,
)
from ktnet.lab.api.strategies.endpoints import EndpointSliceStrategy, EndpointsStrategy
from ktnet.lab.api.strategies.job import JobStrategy
from ktnet.lab.api.strategies.networking import IngressStrategy, IpAddressStrategy
from ktnet.lab.api.strategies.pod import PodStrategy
from ktnet.lab.api.strategies.policy import (
    LimitRangeStrategy,
    PodDisruptionBudgetStrategy,
    ResourceQuotaStrategy,
)
from ktnet.lab.api.strategies.rbac import (
    ClusterRoleBindingStrategy,
    ClusterRoleStrategy,
    RoleBindingStrategy,
    RoleStrategy,
)
from ktnet.lab.api.strategies.service import ServiceStrategy
from ktnet.lab.api.strategies.statefulset import (
    ControllerRevisionStrategy,
    StatefulSetStrategy,
)
from ktnet.lab.api.strategies.strategy import Strategy
from ktnet.lab.api.strategies.workload import DeploymentStrategy, ReplicaSetStrategy

STRATEGIES: Mapping[str, Strategy] = {
    "clusterrolebindings": ClusterRoleBindingStrategy(),
    "clusterroles": ClusterRoleStrategy(),
    "configmaps": ConfigMapStrategy(),
    "customresourcedefinitions": DefinitionStrategy(),
    "controllerrevisions": ControllerRevisionStrategy(),
    "deployments": DeploymentStrategy(),
    "endpoints": EndpointsStrategy(),
    "endpointslices": EndpointSliceStrategy(),
    "events": EventStrategy(),
    "horizontalpodautoscalers": HorizontalPodAutoscalerStrategy(),
    "ingresses": IngressStrategy(),
    "ipaddresses": IpAddressStrategy(),
    "jobs": JobStrategy(),
    "leases": LeaseStrategy(),
    "limitranges": LimitRangeStrategy(),
    "namespaces": NamespaceStrategy(),
    "nodes": NodeStrategy(),
    "poddisruptionbudgets": PodDisruptionBudgetStrategy(),
    "pods": PodStrategy(),
    "replicasets": ReplicaSetStrategy(),
    "resourcequotas": ResourceQuotaStrategy(),
    "rolebindings": RoleBindingStrategy(),
    "roles": RoleStrategy(),
    "secrets": SecretStrategy(),
    "serviceaccounts": ServiceAccountStrategy(),
    "servicecidrs": ServiceCidrStrategy(),
    "services": ServiceStrategy(),
    "statefulsets": StatefulSetStrategy(),
}
"""By plural name; every stored resource of `resources.RESOURCES` is here."""
