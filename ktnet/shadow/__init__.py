"""What runs in the pod: the cluster's end of the tunnel, an SSH server without root or disk.

In the order in which a client's bytes meet them: `__main__` starts `process`, which reads
`arguments`, makes the `hostkey` and keeps the `log`; `server` listens, and its `carrier` watches
what waits to be sent; a client that has the key opens flows and asks for `names` (a `subsystem`),
which `resolver` passes to the pod's resolvers; `lifetime` says when it is over.

What callers in the cluster send meets first an `accepting` socket, then `inbound`, which knows who
has the port; of the `destinations` one is the client's `laptop`, and `router` chooses by request. A
pod that is a router and nothing else is started by `mesh`.

Where the pod was given an account, `api` asks the API server for what little a shadow may.
"""
