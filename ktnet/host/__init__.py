"""The host is changed through one door: links, addresses, routes and the resolver's file.

In the order in which a wish meets the files: `plan` makes a `HostPlan` of `facts` (which `survey`
gathers for those who only look) and wishes, which `additions` may come to, and says by `overlaps`
whose routes are in force; `client` hands it over the `channel` as one of `requests` (read strictly,
by `fields`) to the `helper`, a process with root's rights that keeps those which `privileges`
lists, and gets one of `replies`. There `door` has the `checker` say whether that may be done to
this machine at all. Then it makes the steps, each written into the `journal` as one of `steps`
first: `tun` opens the device, `netlink` sets up the link and the routes (of IPv6, as `unreachable`
says); as `resolver_plan` has it, `resolver` changes the file whose text `resolvconf` knows, or
`resolved` tells systemd-resolved over the `system_bus`. `linkwatch` notices what others do to the
link, and `addresswatch` that the machine is in another network.

When the client is gone, the door undoes the steps in reverse; for a helper that was killed, its
`supervisor` does, from the journal; what both left behind, which `leftovers` sees, the next one.
`sandbox` makes a network for one command instead, by the calls in `namespaces`, without a helper.
"""
