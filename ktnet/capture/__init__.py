"""Packets from a TUN device become byte streams, and byte streams packets.

In the order in which a packet meets them: `tun` reads it; `engine` does so in turns and keeps the
time (`open_capture` is there); `flows` finds the flow that it belongs to, or begins one;
`admission` says how many may be opened at once, and `patience` when an application has given up;
`flow` joins the TCP connection of one application to what carries its bytes; `tcp` is that
connection's local end, in two halves: `receiving`, with `reassembly` for what came too early, and
`sending`, both within the memory that `budget` allows; what they want done are `commands`; `frame`
builds what goes back to the device, `refusal` the answers to what is not carried; `counters` say
how much there was. `probe` sends the first packets through it all, before anybody else does, and
finds out whether a firewall lets them come back.
"""
