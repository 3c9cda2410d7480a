"""What 02-crud recorded beside the lives of single objects, a scene each."""

from __future__ import annotations

import json

from replaying import Lab
from scene import add_recorded

MEBIBYTE = 1024 * 1024
TEST = "transcripts"


async def refusals(lab: Lab) -> None:
    """Requests that are wrong in themselves."""
    names = (
        *("empty-body", "not-json", "no-name", "wrong-kind", "unknown-kind", "wrong-type"),
        *("unsupported-media-type", "not-acceptable", "name-mismatch-put", "namespace-mismatch"),
        *("create-in-missing-namespace", "method-not-allowed", "method-not-allowed-post-name"),
        *("patch-unsupported-media-type", "unknown-group", "unknown-path", "unknown-resource"),
        *("unknown-subresource", "get-head", "get-options"),
        *("generatename", "lease-create-time-3-digits", "lease-create-time-no-fraction"),
        *("patch-missing", "patch-missing-lease", "yaml-body"),
        *("field-validation-strict", "field-validation-warn", "field-validation-ignore"),
    )
    for name in names:
        await lab.replay(name)


async def sizes(lab: Lab) -> None:
    """Bodies of which the recordings only say how long they were."""
    data = {"a": "x" * (MEBIBYTE + 1)}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": lab.name("large")}}
    body = json.dumps({**secret, "stringData": data}).encode()
    await lab.replay("secret-too-large", body=body)
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "large"}}
    body = json.dumps({**config, "data": {"a": "x" * 3345728}}).encode()
    await lab.replay("request-too-large", body=body)


async def pages(lab: Lab) -> None:
    """Lists: pages, selectors, and the deletion of what a selector selects."""
    add_recorded(lab, "list-resourceversion-0")
    names = (
        *("list-page-1", "list-page-2", "list-page-3", "list-labelselector-set", "list-empty"),
        *("list-resourceversion-0", "list-in-missing-namespace", "list-fieldselector-unsupported"),
        *("list-secrets-fieldselector-type", "deletecollection", "deletecollection-after"),
    )
    for name in names:
        await lab.replay(name)


async def first_page(lab: Lab) -> None:
    """A page without a selector says how many remain: ten more or less objects were there."""
    shown = lab.given(lab.folder.cases["list-page-noselector"].answer)
    there = len(lab.store.list("configmaps", lab.name(TEST)))
    remaining = shown["metadata"]["remainingItemCount"]
    listed = [item["metadata"]["name"] for item in shown["items"]]
    for name in listed:
        if not lab.store.has("configmaps", lab.name(TEST), name):
            lab.store.create("configmaps", lab.name(TEST), {"metadata": {"name": name}})
            there += 1
    for index in range(len(listed) + remaining - there):
        later = {"metadata": {"name": f"zz-{index}"}}
        lab.store.create("configmaps", lab.name(TEST), later)
    await lab.replay("list-page-noselector", only_names=True)


async def pods_listed(lab: Lab) -> None:
    names = ("list-pods-phase-running", "list-pods-phase-not-running")
    for name in names:
        add_recorded(lab, name)
    for name in (*names, "list-pods-all-namespaces"):
        await lab.replay(name)


async def partial_lists(lab: Lab) -> None:
    add_recorded(lab, "table-pods-object")
    await lab.replay("partialobjectmetadatalist")


async def applies(lab: Lab) -> None:
    """Server-side apply."""
    names = (
        *("apply-create", "apply-same", "apply-share", "apply-conflict", "apply-force"),
        *("apply-get", "apply-remove", "apply-after-update-conflict-setup"),
        *("apply-after-update-conflict", "apply-no-fieldmanager", "apply-managedfields-in-body"),
        *("apply-cbor-json-content-type", "apply-service-create"),
    )
    await lab.replay_while_declined(names)


async def service_patches(lab: Lab) -> None:
    add_recorded(lab, "apply-service-create")
    names = (
        *("patch-service-selector-merge", "patch-service-selector-null"),
        *("patch-service-selector-jsonpatch", "patch-service-selector-jsonpatch-ok"),
        *("patch-service-ports-strategic", "patch-service-ports-merge"),
        *("patch-service-clusterip", "patch-uid", "patch-jsonpatch-missing-path"),
        *("patch-jsonpatch-malformed", "delete-service"),
    )
    for name in names:
        await lab.replay(name)


async def scales(lab: Lab) -> None:
    add_recorded(lab, "status-get", replicas=1, generation=1)
    names = (
        *("scale-get", "scale-put", "scale-put-stale", "scale-patch-merge", "scale-patch-json"),
        *("scale-patch-json-test-fails", "scale-patch-stale", "scale-patch-negative"),
        *("scale-get-missing", "status-get", "status-patch", "status-ignored-in-put"),
        *("deployment-strategic-env", "deployment-merge-containers"),
        *("deployment-selector-immutable",),
    )
    for name in names:
        lab.settle(name)
        await lab.replay(name)


async def scales_to_zero(lab: Lab) -> None:
    """JSON patches of a /scale that leaves `replicas` out at 0."""
    add_recorded(lab, "deployment-patch-json-test-zero", replicas=1, generation=1)
    names = (
        *("scale-patch-json-test-ok", "scale-get-zero", "scale-patch-json-test-zero"),
        *("scale-patch-json-replace-zero", "scale-patch-json-add"),
        *("deployment-patch-json-test-zero",),
    )
    for name in names:
        lab.settle(name)
        await lab.replay(name)


async def ephemeral_containers(lab: Lab) -> None:
    add_recorded(lab, "ephemeralcontainers-get")
    names = (
        *("ephemeralcontainers-get", "ephemeralcontainers-patch"),
        *("ephemeralcontainers-patch-change", "ephemeralcontainers-patch-remove"),
        *("ephemeralcontainers-ports", "ephemeralcontainers-in-pod-patch"),
        *("ephemeralcontainers-status",),
    )
    await lab.replay_while_declined(names)


async def frozen(lab: Lab) -> None:
    """What may not be changed."""
    for name in ("secret-immutable-create", "secret-immutable-patch", "secret-type-change"):
        await lab.replay(name)
    for name in ("job-immutable", "job-immutable-patch", "job-suspend"):
        lab.settle(name)
        await lab.replay(name)
    names = ("lease-lock-create", "lease-lock-renew", "lease-lock-steal-stale", "lease-bad-time")
    for name in (*names, "lease-time-no-fraction"):
        await lab.replay(name)


async def pod_patches(lab: Lab) -> None:
    add_recorded(lab, "pod-patch-labels", without_labels=("extra",))
    for name in ("pod-patch-immutable", "pod-patch-labels", "pod-status-patch"):
        await lab.replay(name)


async def pod_deletions(lab: Lab) -> None:
    ended = ("pod-delete-running", "pod-delete-grace-0", "pod-delete-pending", "pod-delete-failed")
    for name in ended:
        add_recorded(lab, name, generation=1)
    names = (
        *("pod-delete-running", "pod-delete-running-get", "pod-delete-shorter-grace"),
        *("pod-create-while-terminating", "pod-delete-grace-0", "pod-delete-grace-0-get"),
        *("pod-delete-pending", "pod-delete-pending-get", "pod-delete-failed"),
        *("pod-delete-failed-get",),
    )
    for name in names:
        await lab.replay(name)


async def propagation(lab: Lab) -> None:
    for policy in ("background", "foreground", "orphan", "bogus"):
        shown = "deployment-delete-foreground-get"
        if f"deployment-delete-{policy}-get" != "deployment-delete-background-get":
            shown = f"deployment-delete-{policy}-get"
        add_recorded(lab, shown, name=f"pp{policy}", generation=1)
        for name in (f"deployment-delete-{policy}", f"deployment-delete-{policy}-get"):
            lab.settle(name)
            await lab.replay(name)


async def yaml_answer(lab: Lab) -> None:
    config = {"metadata": {"name": lab.name("df-cm")}}
    lab.store.create("configmaps", lab.name(TEST), config)
    await lab.replay("yaml-accept")


async def proxies(lab: Lab) -> None:
    await lab.replay("proxy-pod")
    await lab.replay("proxy-service")


async def tables(lab: Lab) -> None:
    """Of objects that the Tables themselves don't show whole: what they need is in other cases."""
    add_recorded(lab, "table-pods-object")
    for name in ("table-pod-one", "table-pods-none", "table-pods-object", "table-missing"):
        await lab.replay(name)


SCENES = (
    *(refusals, sizes, pages, first_page, pods_listed, applies, service_patches, scales),
    *(scales_to_zero, ephemeral_containers, frozen, pod_patches, pod_deletions, propagation),
    *(yaml_answer, proxies, partial_lists, tables),
)
