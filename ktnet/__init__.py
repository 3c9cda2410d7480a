"""ktnet joins this machine to a Kubernetes cluster's network.

A packet's way, file by file: an application's packet is routed into a TUN device that
`host.helper` made; `capture` reads it there and terminates its TCP; each TCP flow becomes one
channel of the SSH connection that `link` keeps; the SSH bytes travel through the API server's
port-forward, which `cluster` dials; at the other end `shadow`, in its pod, connects to the
Service or pod that was meant. A name's way: `host` points the resolver at `dns`, which decides
whose name it is and asks the cluster's resolver (through `link` and `shadow`) or the old one.
`session` opens these parts in order, `commands` are what users type, `wire` is what both ends
have to agree on.
"""
