"""What a shadow asks of the API server, where its pod was given an account.

`account` is who we are and whom we trust, as mounted in the pod; `client` sends a request and
waits; `answer` reads what comes back. Only those shadows import this that have something to ask.
"""
