"""What both ends of the tunnel do the same, with I/O: sockets as flows, and flows beside flows.

`socketflow` makes a TCP socket a flow, `joining` makes one connection of two flows.
"""
