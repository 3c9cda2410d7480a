"""A worse network than this machine's: a laptop's link gets delay, a rate, a queue and losses.

    laptop eth0 -- lan-10 --+                                                   +-- lan (bridge)
                            +-- cut-10 (bridge) -- near-10 == process == far-10 --+

conditions.py  what a link is like: delay, rate, loss, queue. Pure
frames.py      an Ethernet frame behind a virtio_net_hdr: how many packets it is, parts of it. Pure
direction.py   one way of the link: what is lost, what has no room, when the rest is due. Pure
process.py     reads both TAP devices, waits, writes: the only thing between the two bridges
tap.py         a TAP device that takes and gives super-packets
splice.py      puts the process into a laptop's link, and the link together again when it ends
shapers.py     which links have one

The kernel's netem would do it, and isn't everywhere: the lab asks for nothing that may be missing.
"""
