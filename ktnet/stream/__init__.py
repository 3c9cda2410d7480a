"""What both ends of the tunnel do the same, with I/O: SSH's bytes, and sockets beside flows.

In the order in which a flow's bytes meet them: `listener` accepts an application's connection;
`relay` stands between a TCP socket and a flow; `datachannel` is the flow's channel, which `control`
opens and ends, `datapath` the connection that seals and opens its packets (`ktnet.wire.sshrecord`)
before the byte stream. Either end offers what `negotiation` says, and nothing else.
Behind it asyncssh has the `outlet` for a transport; `internals` is the one place that knows its
private names. `carrier` chooses: where this asyncssh isn't the one that was expected, it does
everything.

The `ledger` stands where streams come in, and knows which connections there are and what they have
carried.

`openings` open a channel for a flow, `target` dials what a flow is meant for. `socketflow` makes a
TCP socket a flow, `joining` makes one connection of two flows; both ends cut connections by a
`reset`, and ask their `nameservers` in one way.
"""
