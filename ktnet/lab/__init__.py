"""The lab: a whole small Kubernetes cluster in network namespaces of one Linux machine.

From the outside: `launch` starts, ends and enters labs; `state` is a lab's directory, `residents`
are the processes on its laptops, `control` is the socket by which the daemon is asked.

The daemon: `daemon` is the wiring diagram, `topology` says who is where, `objects` what a new
cluster holds, `cluster` puts that in and runs the controllers, `kubeconfig` is the way in. What is
wired, in the order in which an object meets it: `api` (store, REST, watch, port-forward),
`controllers` (from Deployments and Jobs to pods, from pods to endpoints), `node` (network,
kubelet, pods, laptops), `propagation` (how soon the node hears of a change), `proxy` (Services as
nftables rules) and `dns` (the cluster's, and the office's resolver). `faults` is what can be made
to go wrong, `shaping` worse links than this machine has. `workloads` runs in the pods.

Users of a lab: `harness` drives one by the command line; `demo`, `census`, `visit` and `traffic`
look at it and through it.
"""
