"""The laptop's end of the tunnel: one SSH connection to the shadow, and what goes through it.

In the order in which a session meets them: `keys` makes the client's key, whose public half goes
into the pod's spec; `connection` dials through a `carrier`, which watches what waits to be sent,
and pins the host key (`stream` opens a channel for each TCP flow); `names` asks the cluster's
resolver, `inbound` connects what comes from there (`membership`: requests with our mark, by a
router); `lasting` outlives connections, with `waiting`
for those who wait for the next one and `backoff` for how long it is until then; `sleep` notices
that this machine has slept; `failures` says in ktnet's words what asyncssh says in its own.
"""
