"""Each kind's own rules: defaults, validation, and what an update may change.

`strategy` says what rules there are and what holds for a kind without any of its own; one file
a kind (or family of small kinds) follows; `table` says which kind has which. `podspec` and
`probes` are shared by pods and all that carry a pod template.
"""
