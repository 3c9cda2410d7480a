"""Packets from a TUN device become byte streams, and byte streams packets.

In the order in which a packet meets them: `tun` reads it; `engine` does so in turns and keeps the
time; `flows` finds the flow that it belongs to, or opens one; `admission` says how many may be
opened at once and `patience` when an application has given up; `flow` joins the TCP connection of
one application to what carries its bytes; `tcp` terminates that connection, in two halves:
`receiving` and `sending`, within the memory that `budget` allows; `frame` builds what goes back
to the device, `refusal` the answers to what is not carried.
"""
