"""The shadow's host key: made in its own memory, never stored, published by a line of its log."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import asyncssh

from ktnet.shadow.log import EventLog

REPEAT_S = 3600.0
"""Beside the repetition by lines: some clusters rotate logs by age."""


def new_host_key() -> asyncssh.SSHKey:
    """A fresh Ed25519 key."""
    return asyncssh.generate_private_key("ssh-ed25519")


def build_public_key(key: asyncssh.SSHKey) -> str:
    """ "ssh-ed25519 BASE64", without a comment."""
    return " ".join(key.export_public_key("openssh").decode("ascii").split()[:2])


async def run_repetition(log: EventLog) -> NoReturn:
    """Say the host key once an hour."""
    while True:
        await asyncio.sleep(REPEAT_S)
        log.host_key()
