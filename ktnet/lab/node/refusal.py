"""Why a container can't be started, in the words of a kubelet."""

from __future__ import annotations


class Refusal(Exception):
    """A container is not started: what its status says in `state.waiting`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class PodRejected(Exception):
    """A pod is never started: what its status says."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def config_error(message: str) -> Refusal:
    """Something in the pod's spec that depends on other objects, or on the image."""
    return Refusal("CreateContainerConfigError", message)
