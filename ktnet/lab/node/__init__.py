"""The lab's node: its network, its kubelet, its pods, and the laptops beside it.

In the order in which a pod meets them. `kubelet` watches the API server and gives each pod a worker
(`pod`), which writes what it sees into the pod's `status`. `sandbox` makes the pod's `namespaces`
and, with one of the node's `addresses`, its place in the `network`; `volumes` are its directories.
`container` starts, restarts and ends one process in it; `log` keeps what it prints, `probe` asks
how it is, `ending` has it end, `exec` starts others beside it. What that process is to be is
decided by pure functions: `images` are the programs there are, `environment`, `identity` and `etc`
say what it sees and who it is, `process` puts it all into a `launch`; a `refusal` says why not.
`spawner` hands the launch, by `messages`, to the `zygote`, a small process that forks; `child` and
`root` are what the fork does before it becomes the container's, with the calls in `syscalls`;
`pipes` are what connects it to the daemon.

`laptop` makes the machines beside the cluster, `direct` the one way from them to a pod.
"""
