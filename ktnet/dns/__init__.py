"""The DNS proxy: names that belong to the cluster go to the cluster, all others as before.

In the order in which a query meets the files: `proxy` (UDP and TCP sockets on the TUN's address)
reads it, `messages` parses it (with `names`), `resolver` has `policy` decide whose name it is and
asks: the cluster through the tunnel (`rewrite` completes a short name and restores it in the
answer), or through `upstream` the nameservers that this machine had before.
"""
