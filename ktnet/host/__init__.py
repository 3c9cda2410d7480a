"""The host is changed through one door: links, addresses, routes and the resolver's file.

In the order in which a wish meets the files: `plan` makes a `HostPlan` of facts and wishes,
`client` hands it as one of `messages` (read by `fields`) to the root `helper`; there `door` makes
the steps, each written into the `journal` as one of `steps` first: `tun` opens the device,
`netlink` sets the link and the routes, `resolver` changes the file whose text `resolvconf` knows.
When the client is gone, the door undoes the steps in reverse; what a killed helper left behind,
the next one undoes from the journal.
"""
