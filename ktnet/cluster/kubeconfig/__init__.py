"""Which cluster, and as whom: kubeconfig files as kubectl reads them.

In the order in which they are met: `files` finds and reads the files, `parse` makes a `model` of
each and merges them, `choose` takes what a context names (all three of them pure), `proxies` says
through which proxy (pure), `tls` builds the trust and holds the client's certificate,
`credentials` says with which headers each request goes out, by `plugin` where a program has to be
asked for them, whose words `execcredential` reads (pure); `incluster` is a pod's own account, and
`access` puts it all together.

Private keys never touch a disk: what OpenSSL wants as a file is one in memory.
"""
