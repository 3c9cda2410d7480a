"""The lab's API server: answers as a real Kubernetes 1.36 does for the objects that ktnet uses.

An HTTP request meets, in this order: `server` (TLS, the wiring), `requestlog`, `auth` (who is
it), `target` (which verb on which resource is meant), `authorization` (may they), `rest` (verbs
to the store), `query` and `body` (what the request says), `watching`, `logs`, `portforward` and
`execution` (the answers that stream; both of the last over `websocket`), `discovery` and `health`.

An object meets, in this order: `store`, its kind's rules in `strategies` (defaults, validation,
what an update may change), `metadata`, `allocation` (ClusterIPs, node ports), `deletion`, and
`history`, from which every watch is fed. `resources` is the table of all that is served;
`errors`, `fieldcheck`, `names`, `selectors`, `patch` and `strategic` serve all of them.

`runtime` is what the API server needs of a kubelet.
"""
