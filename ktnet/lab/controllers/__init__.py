"""The controllers: each looks at the objects that are and makes them what they should be.

`kind` knows what all of them ask of an object, `action` is what they may do. Then, in the order in
which a Deployment becomes endpoints: `deployment` (with `rollout` and `progress`), `replicaset`,
`statefulset` (with `revisions`), `job` (with `backoff`), `scheduler`, `endpoints`; `disruption`
counts who may be evicted, `quota` what is used, `garbage` collects what lost its owner, `refusals`
records what wasn't allowed, `namespace` fills new namespaces and empties dying ones. Each has a
pure `plan_*`; `loop` runs them: watches mark keys as dirty, a worker plans and applies.
"""
