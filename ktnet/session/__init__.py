"""The wiring: opens the parts in order, hands each what it needs, undoes in reverse.

`options` is what users ask for, `report` where they are told how far it is. `cluster` opens the
API server, `tunnel` puts a shadow there and the way to it: all that a command needs that carries
single connections; its `keeper` has it come back whenever it breaks, and `state` says how it is.
`connect` puts a whole machine before a tunnel, and `names` sees to it that its names come there;
`exec` does so with one command's network.
`mesh` puts a marked version beside others, to which `istio` leads requests by Istio's objects and
`mesh_auto` by a router, to all pods of which `attachments` keep up a connection while it is a
`mesh_member`.
"""
