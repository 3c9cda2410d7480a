"""A local proxy in front of the tunnel, for hosts without a TUN: SOCKS5 and HTTP on one port.

In the order in which a client's bytes meet them: `server` accepts and tells the protocols apart;
`socks5` and `http` (pure) find out where a client wants to go, as `handshake` says; then `server`
joins it to a flow through the tunnel. Names are resolved in the cluster.
"""
