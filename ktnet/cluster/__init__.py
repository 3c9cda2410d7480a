"""Everything that talks to Kubernetes.

In the order in which a session meets them: `config` finds the cluster and our credentials (by
`kubeconfig`), `server` makes requests and keeps up with what is there, `rights` lists what each
command needs (`server.review` asks for it), `cidrs` and `services` learn which addresses and names
are the cluster's; `shadow` makes the pod at the other end (`sideload`: without an image of ours),
`portforward` (whose bytes `forwardtransport` carries) or `direct` reach its SSH server, `heartbeat`
renews its Lease; `exchange` takes traffic and gives it back, `mesh` puts a router in front of a
Service, `istio` adds routes to Istio's objects; by `labels` all of it is known; `sessions` and
`fronts` see who has what, `holding` says who is alive, and `cleaning`, `leftovers` and `removal`
put back and delete what is left.
"""
