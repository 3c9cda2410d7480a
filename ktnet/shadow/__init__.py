"""What runs in the pod: the cluster's end of the tunnel, an SSH server without root or disk.

In the order in which a client's bytes meet them: `__main__` starts `process`, which reads
`arguments`, makes the `hostkey` and keeps the `log`; `server` listens, and its `carrier` watches
what waits to be sent; a client that has the key opens flows, each with a `target` of its own, and
asks for `names`, which `resolver` passes to the pod's resolvers; `lifetime` says when it is over.
"""
