"""The DNS proxy: names that belong to the cluster go to the cluster, all others as before.

In the order in which a query meets the files: `proxy` (UDP and TCP sockets on the TUN's address)
reads it, `messages` parses it (with `names` and `edns`), `resolver` has `policy` decide whose name
it is, recalls the answer (`cache`, for the `lifetime` that it allows) or joins those who are asking
the same (`flights`), or asks: the cluster through the tunnel (`rewrite` completes a short name and
restores it in the answer, `addresses` are told of before it is given, `newborn` gets past what a
cluster denies of a new Service), or through `upstream` the nameservers that this machine had
before. `counters` counts it all; `explain` goes the same way for one name and tells each step,
`text` puts answers into words.
"""
