"""What both ends of an SSH connection offer each other: one way to log in, few algorithms."""

from __future__ import annotations

from typing import Any

SSH_OPTIONS: dict[str, Any] = {
    # Log-in is by the session's key alone; neither end reads a configuration.
    "config": None,
    "x509_trusted_certs": None,
    "host_based_auth": False,
    "kbdint_auth": False,
    "password_auth": False,
    "gss_host": None,
    # AES-GCM is the one that processors do in hardware at the speed of memory.
    "kex_algs": ["curve25519-sha256", "curve25519-sha256@libssh.org"],
    "encryption_algs": ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"],
    "compression_algs": None,
}
"""Of `asyncssh.connect` and of `asyncssh.listen`."""
