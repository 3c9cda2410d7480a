"""The lab's API server: answers as a real Kubernetes 1.36 does for the objects that ktnet uses.

An HTTP request meets, in this order: `server` (the wiring; `tls`, `requestlog`,
`kindlog`), `target` (which
verb on which resource is meant), `authentication` (who is it; `accounts` knows ServiceAccounts'
tokens), `impersonation` (for whom do they act), `authorization` (may they: `rbac` knows; `review`
answers those who ask beforehand), then one of

- `rest`: verbs to the store, by way of `call`: `query` and `body` (what the request says),
  `fieldvalidation` (fields that the kind doesn't have; `fields.json` lists those that it has),
  `media` (which form the answer has), `listing` (pages), `tables` and `watching` (a watch over
  HTTP);
- `podpaths`: `logs`, `portforward` and `execution`, the last two by way of `upgrade` and
  `websocket`; `runtime` is what all three need of a kubelet;
- `discovery`.

An object meets, in this order: `store`, `shapecheck` (JSON types, from the
tables in `shapes`), `metadata`, its kind's rules in
`strategies`, `admission` (what depends on other objects), `podsecurity` (what
the namespace forbids), `validation`, `allocation` (ClusterIPs
and node ports), `deletion`, and `history`, from which every watch is fed; `watch` is the one that
controllers use. `resources` is the table of what is served from the start, `catalog` adds what
CustomResourceDefinitions define; `errors`, `fieldcheck`, `names`,
`selectors`, `patch`, `strategic` and `scale` serve all of them.
"""
