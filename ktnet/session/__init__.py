"""The wiring: opens the parts in order, hands each what it needs, undoes in reverse.

`options` is what users ask for, `report` where they are told how far it is. `cluster` opens the
API server, `tunnel` puts a shadow there and the way to it: all that a command needs that carries
single connections; its `keeper` has it come back whenever it breaks, and `state` says how it is.
Whatever is put before a tunnel is `running` then: what commands ask of every session, in one way.

`proxy` and `forward` put listeners of this machine before it. `network` is what of a cluster is to
be captured: `connect` puts a whole machine there, and `names` sees to it that its names come along;
`exec` does so with one command's network.

`inbound` are ports of the shadow that lead here: as a Service of their own (`run`), in a workload's
place (`exchange`, by its `exchange_plan`), or beside it: `mesh` puts a marked one beside others,
to which `istio` leads requests by Istio's objects and `mesh_auto` by a router, to all pods of which
`attachments` keep up a connection while it is a `mesh_member`, who may have been away (`absence`).
"""
