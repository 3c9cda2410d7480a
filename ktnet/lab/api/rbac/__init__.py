"""Role-based access control: what Roles and bindings allow, and who may write them.

kubernetes.io/docs/reference/access-authn-authz/rbac/. In the order in which a request meets them:
`authorizer` (finds the rules that a user has), `rules` (whether one rule allows one request),
`escalation` (nobody grants what they haven't got), `coverage` (whether rules hold others), and
`defaults` (the roles that every cluster has from its start).
"""
