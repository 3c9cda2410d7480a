"""Pod security: what pods of a namespace may ask for, by the namespace's labels.

kubernetes.io/docs/concepts/security/pod-security-standards/ and .../pod-security-admission/; words
and order are those of k8s.io/pod-security-admission. `admission` reads the labels and refuses or
warns; `baseline` and `restricted` are the checks of the two levels; `finding` is what both say.
"""
