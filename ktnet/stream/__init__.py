"""What both ends of the tunnel do the same, with I/O: SSH's bytes, and sockets beside flows.

In the order in which a flow's bytes meet them: `accepting` takes connections and `listener` gives
each a flow; `polledflow` is a TCP socket as a flow and `target` dials one, both told by `polling`
what the kernel has, in a `batch`; `joining` makes one connection of two flows. `datachannel` is a
flow's channel, which `openings` open, `control` opens and ends, and `datapath` the connection that
seals and opens its packets (`ktnet.wire.sshrecord`) before the byte stream, which `intake` reads
where that is a socket. Either end offers what `negotiation` says, and nothing else.
Behind it asyncssh has the `outlet` for a transport; `internals` is the one place that knows its
private names. `carrier` chooses: where this asyncssh isn't the one that was expected, it does
everything.

The `ledger` stands where streams come in, and knows which connections there are and what they have
carried.

`loop` makes the event loop that all this is cheapest on, with its `selector`. `socketflow` is a
socket as a flow where there is none of that. Both ends cut connections by a `reset`, and ask their
`nameservers` in one way.
"""
