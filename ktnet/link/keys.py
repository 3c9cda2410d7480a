"""The client's key of one session: Ed25519, in memory only."""

from __future__ import annotations

import asyncssh

ClientKey = asyncssh.SSHKey
"""The private key; opaque to everybody but `ktnet.link`."""


def new_client_key() -> tuple[ClientKey, str]:
    """A fresh private key, and its public half as "ssh-ed25519 BASE64" for the shadow's spec."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    return key, build_public_line(key)


def build_public_line(key: ClientKey) -> str:
    """The public half as "ssh-ed25519 BASE64", without a comment."""
    return " ".join(key.export_public_key("openssh").decode("ascii").split()[:2])
