"""DNS of the lab: the cluster's own, answering as CoreDNS does, and the resolver of the office.

`zone` knows the cluster's names and answers questions from a snapshot (pure), `cache` gives what it
answered again for a while (pure), `message` puts answers into messages of the right size (pure),
`socket` serves them over UDP and TCP, `querylog` remembers what was asked; `cluster` keeps the
snapshot up to date, `office` is the resolver that laptops have without any tunnel.
"""
