"""What leaves a sandbox for elsewhere than the cluster goes out by this process's own sockets.

`dialer` decides for each connection which way it takes; `datagrams` carries UDP.
"""
