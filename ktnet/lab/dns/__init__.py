"""DNS of the lab: the cluster's own, answering as CoreDNS does, and the resolver of the office.

`zone` knows the cluster's names and answers questions from a snapshot (pure), `message` puts
answers into messages of the right size (pure), `socket` serves them over UDP and TCP; `cluster`
keeps the snapshot up to date, `office` is the resolver that laptops have without any tunnel.
"""
