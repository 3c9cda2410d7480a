"""What a command will need, tried beforehand without changing anything.

`result` is what a check says. `machine` looks at this machine, `access` at the way to the API
server and who we are there, `namespace` at what we may there and what would become of a shadow,
`network` at the ranges and names that would be taken, and `deep` starts a shadow. `run` asks all of
them in order; what can't be known because something before it failed is left out, so that one
cause has one ✗.
"""
