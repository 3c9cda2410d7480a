"""What both ends of the tunnel have to agree on: pure functions and types, no I/O at all.

A packet: `vnet` before its headers, `ipv4`, `tcp`, `udp` and `icmp`, with their `checksum`.
A flow: `flow` is the seam between its bytes and what carries them; `channel` is what does, on SSH
channels, which begin and end as `sshchannel` says and whose bytes are packets of `sshrecord`;
`window`, `congestion` and `pacing` say how much of it may be on its way.
What carries SSH: `portforward`, in the frames of a `websocket`.
Names: `dnsmessage`, on streams as a `dnsframe`; `service` is what is known of a Service.
What is written on others' objects: an `annotation`, of an exchange (`record`) or of a mesh
(`meshrecord`); `apipaths` says where they live. Requests are told apart by their `http1` head, and
by `meshmark` a router is told who wants which.
`shadow` are the names and ports that a client and its shadow agree on, `release` which they are of.
"""
