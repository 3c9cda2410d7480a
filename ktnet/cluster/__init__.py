"""Everything that talks to Kubernetes.

In the order in which a session meets them: `config` finds the cluster and our credentials (by
`kubeconfig`), `api` makes requests (over `transport`; `paths` says where objects live, `answers`
what a refusal means, `clock` keeps the server's time, `informer` follows a collection), `review`
asks what we may of what `rights` lists, `manifests` says what a session creates (`sideload`:
without an image of ours), `session` creates it, waits for it (`startup`, with `verdict` on the
pod's state, and `hostkey` from its log), renews its Lease (`heartbeat`), watches it (`podwatch`),
moves what it owns to its successor (`dependents`) and deletes it (`removal`); `portforward` or
`direct` reach its SSH server; `istio` leads marked requests there (`istio_plan` and
`istio_removal` say by which changes of which objects), or `router` (made of `router_manifests`)
stands in front of a Service, which `membership` joins and leaves and `mesh_leftovers` puts back;
`cidrs` and `services` learn which addresses and names are the cluster's.
"""
