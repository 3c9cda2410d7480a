"""Objects as Tables: what `kubectl get` prints.

kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables. `table` puts
them together; the columns of each kind are those of k8s.io/kubernetes/pkg/printers/internalversion,
in `core`, `pods` and `workloads`; `cells` formats what stands in them.
"""
