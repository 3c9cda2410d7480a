"""Faults on demand: what happens to clusters, networks and clients, made to happen to a lab.

requests.py   on the n-th request, before or after it is done: kill the client, reset, refuse
owners.py     which process on which laptop sent it
streams.py    port-forwards: cut, reset, closed, stalled, idle for too long
laptops.py    a laptop's cable, packets, disk and token
cluster.py    shadows and other pods: deleted, evicted, drained with their node
control.py    what the control socket can be asked, by `ktnet lab fault` and by tests
"""
