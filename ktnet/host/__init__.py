"""The host is changed through one door: links, addresses, routes and the resolver's file.

In the order in which a wish meets the files: `plan` makes a `HostPlan` of facts and wishes;
`client` hands it over the `channel` as one of `requests` (read strictly, by `fields`) to the
`helper`, a process with root's rights, and gets one of `replies`. There `door` makes the steps,
each written into the `journal` as one of `steps` first: `tun` opens the device, `netlink` sets up
the link and the routes; as `resolver_plan` has it, `resolver` changes the file whose text
`resolvconf` knows, or `resolved` tells systemd-resolved over the `system_bus`. When the client
is gone, the door undoes the steps in reverse; what a killed helper left behind, the next one
undoes from the journal. `linkwatch` notices what others do to the link.
"""
