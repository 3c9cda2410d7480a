"""Every test of the link runs on both paths that a flow's bytes can take."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, params=["own", "asyncssh"])
def ssh_path(request, monkeypatch):
    """Whose code carries the bytes of flows at both ends."""
    if request.param == "asyncssh":
        monkeypatch.setenv("KTNET_SSH_PATH", "asyncssh")
    return request.param
