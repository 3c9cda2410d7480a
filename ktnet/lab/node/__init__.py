"""The lab's node: its network, its kubelet, its pods, and the laptops beside it.

In the order in which a pod meets them. `kubelet` watches the API server and gives each pod a
worker (`pod`), which says what it sees in the pod's status (`status`). `images` are the programs
there are; `launch`, `environment`, `identity`, `volumes` and `etc` turn a pod's spec into what
one process needs (pure). `sandbox` makes the pod's namespaces and its place in the `network`;
`container` starts, restarts and ends one process in it, `log` keeps what it prints, `probe` asks
whether it is ready. Processes are forked by the `zygote`, a small process that `spawner` talks
to; `root` and `child` are what a new process does before it becomes the container's, with the
calls in `syscalls`. `laptop` makes the machines beside the cluster.
"""
