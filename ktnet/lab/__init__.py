"""The lab: a whole small Kubernetes cluster in network namespaces of one Linux machine.

`daemon` is the wiring diagram. What it wires, in the order in which an object meets it: `api`
(the API server: store, REST, watch, port-forward), `controllers` (what turns Deployments and
Jobs into pods, and pods into endpoints), `node` (network, kubelet, pods, laptops), `proxy`
(Services as nftables rules) and `dns` (cluster DNS and the office's resolver). `objects` is what
a new lab holds; `workloads` is what runs in its pods. `state` is the lab's directory,
`kubeconfig` the way in, `control` the socket by which `ktnet lab` talks to the daemon.
`demo`, `visit` and `census` show it all.
"""
