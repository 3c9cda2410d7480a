"""Defaults and checks of a PodSpec, shared by pods and pod templates. Pure.

kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/; the defaults are those of
pkg/apis/core/v1/defaults.go.
"""

from __future__ import annotations

from ktnet.lab.api.errors import Obj
from ktnet.lab.api.fieldcheck import FieldCheck
from ktnet.lab.api.metadata import check_metadata
from ktnet.lab.api.names import check_label
from ktnet.lab.api.strategies.probes import check_probes, default_probes
from ktnet.lab.api.strategies.strategy import put_default

CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
PROTOCOLS = ("SCTP", "TCP", "UDP")

MODE_0644 = 420
"""Files of volumes, unless the volume says otherwise."""


def default_pod_spec(spec: Obj) -> None:
    put_default(
        spec,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        securityContext={},
        schedulerName="default-scheduler",
    )
    for name in CONTAINER_LISTS:
        for container in spec.get(name) or []:
            _default_container(container)
    for volume in spec.get("volumes") or []:
        _default_volume(volume)
    if spec.get("serviceAccountName"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    elif spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    if not spec["securityContext"].get("sysctls", True):
        del spec["securityContext"]["sysctls"]


def _default_container(container: Obj) -> None:
    put_default(
        container,
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        imagePullPolicy=_pull_policy(str(container.get("image", ""))),
    )
    for port in container.get("ports") or []:
        put_default(port, protocol="TCP")
    for variable in container.get("env") or []:
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            put_default(reference, apiVersion="v1")
    limits = container["resources"].get("limits")
    if limits:
        container["resources"]["requests"] = {
            **limits,
            **(container["resources"].get("requests") or {}),
        }
    default_probes(container)
    for key in ("env", "ports", "command", "args", "envFrom", "volumeMounts"):
        if container.get(key) == []:
            del container[key]


def _pull_policy(image: str) -> str:
    """Always for an image without a tag or with `latest`; never by the name of a digest."""
    last = image.rsplit("/", 1)[-1]
    if "@" in last:
        return "IfNotPresent"
    _, _, tag = last.partition(":")
    return "Always" if tag in {"", "latest"} else "IfNotPresent"


def _default_volume(volume: Obj) -> None:
    for kind in ("configMap", "secret", "projected", "downwardAPI"):
        if kind in volume:
            put_default(volume[kind], defaultMode=MODE_0644)
    if "hostPath" in volume:
        put_default(volume["hostPath"], type="")
    if len(volume) == 1:
        volume["emptyDir"] = {}
    for source in (volume.get("projected") or {}).get("sources") or []:
        if "serviceAccountToken" in source:
            put_default(source["serviceAccountToken"], expirationSeconds=3600)
        for item in (source.get("downwardAPI") or {}).get("items") or []:
            if "fieldRef" in item:
                put_default(item["fieldRef"], apiVersion="v1")


def check_pod_spec(check: FieldCheck, spec: Obj, field: str) -> None:
    names: set[str] = set()
    volumes = _check_volumes(check, spec, field)
    if not spec.get("containers"):
        check.required(f"{field}.containers")
    for which in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(which) or []):
            at = f"{field}.{which}[{index}]"
            _check_container(check, container, at, volumes)
            name = container.get("name", "")
            if name and name in names:
                check.duplicate(f"{at}.name", name)
            names.add(name)
    if spec.get("restartPolicy") not in RESTART_POLICIES:
        check.unsupported(f"{field}.restartPolicy", spec.get("restartPolicy"), RESTART_POLICIES)
    if spec.get("dnsPolicy") not in DNS_POLICIES:
        check.unsupported(f"{field}.dnsPolicy", spec.get("dnsPolicy"), DNS_POLICIES)
    check.not_negative(
        f"{field}.terminationGracePeriodSeconds", spec.get("terminationGracePeriodSeconds")
    )
    _check_sysctls(check, spec, field)


def _check_volumes(check: FieldCheck, spec: Obj, field: str) -> frozenset[str]:
    names: set[str] = set()
    for index, volume in enumerate(spec.get("volumes") or []):
        at, name = f"{field}.volumes[{index}]", volume.get("name", "")
        if not name:
            check.required(f"{at}.name")
        else:
            check_label(check, f"{at}.name", name)
        if name in names:
            check.duplicate(f"{at}.name", name)
        names.add(name)
    return frozenset(names)


def _check_container(
    check: FieldCheck, container: Obj, field: str, volumes: frozenset[str]
) -> None:
    name = container.get("name", "")
    if name:
        check_label(check, f"{field}.name", name)
    else:
        check.required(f"{field}.name")
    if not container.get("image"):
        check.required(f"{field}.image")
    for index, port in enumerate(container.get("ports") or []):
        at = f"{field}.ports[{index}]"
        if "containerPort" not in port:
            check.required(f"{at}.containerPort")
        check.port(f"{at}.containerPort", port.get("containerPort"))
        if port.get("protocol") not in PROTOCOLS:
            check.unsupported(f"{at}.protocol", port.get("protocol"), PROTOCOLS)
    for index, variable in enumerate(container.get("env") or []):
        if not variable.get("name"):
            check.required(f"{field}.env[{index}].name")
    for index, mount in enumerate(container.get("volumeMounts") or []):
        at = f"{field}.volumeMounts[{index}]"
        if mount.get("name") not in volumes:
            check.not_found(f"{at}.name", mount.get("name", ""))
        if not mount.get("mountPath"):
            check.required(f"{at}.mountPath")
    check_probes(check, container, field)
    if container.get("imagePullPolicy") not in PULL_POLICIES:
        check.unsupported(
            f"{field}.imagePullPolicy", container.get("imagePullPolicy"), PULL_POLICIES
        )


def check_template(check: FieldCheck, template: Obj, field: str) -> None:
    check_metadata(check, template.get("metadata") or {}, field=f"{field}.metadata")
    check_pod_spec(check, template.get("spec") or {}, f"{field}.spec")


def _check_sysctls(check: FieldCheck, spec: Obj, field: str) -> None:
    """A pod in the node's network can't set what belongs to that (validateSysctls)."""
    if not spec.get("hostNetwork"):
        return
    sysctls = (spec.get("securityContext") or {}).get("sysctls") or ()
    for index, each in enumerate(sysctls):
        if each["name"].startswith("net."):
            where = f"{field}.securityContext.sysctls[{index}].name"
            check.invalid(where, each["name"], "may not be specified when 'hostNetwork' is true")
