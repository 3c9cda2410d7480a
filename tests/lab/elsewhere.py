"""Runs ktnet as on a system without POSIX's modules and Linux's names, as far as that shows here.

python elsewhere.py ARGUMENTS... : ktnet's own code finds no fcntl, pwd and the like, and in os,
socket and signal only what every system has. The libraries find all: they look at what they run on,
and have code for each.
"""

import asyncio
import builtins
import os
import signal
import socket
import sys
import types

MODULES = {"fcntl", "grp", "pwd", "pty", "resource", "syslog", "termios", "tty"}
NAMES = {
    os: (
        *(
            "chown",
            "fchown",
            "fork",
            "getegid",
            "geteuid",
            "getgid",
            "getgroups",
            "getpgid",
            "getuid",
        ),
        *("initgroups", "killpg", "memfd_create", "pidfd_open", "pipe2", "sched_getaffinity"),
        *("setsid", "setuid", "uname"),
    ),
    socket: ("AF_NETLINK", "AF_PACKET", "AF_UNIX", "SCM_RIGHTS", "SO_PEERCRED"),
    signal: ("SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGUSR1", "SIGUSR2", "pthread_sigmask"),
}

real_import = builtins.__import__


def build_bare(module):
    bare = types.ModuleType(module.__name__)
    bare.__dict__.update({k: v for k, v in vars(module).items() if k not in NAMES[module]})
    return bare


BARE = {module.__name__: build_bare(module) for module in NAMES}


def import_for_ktnet(name, globals_=None, locals_=None, fromlist=(), level=0):
    if str((globals_ or {}).get("__name__")).startswith("ktnet"):
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if name in BARE:
            return BARE[name]
    return real_import(name, globals_, locals_, fromlist, level)


def refuse(*_arguments):
    raise NotImplementedError


builtins.__import__ = import_for_ktnet
asyncio.SelectorEventLoop.add_signal_handler = refuse

from ktnet.cli import main  # noqa: E402

sys.argv[0] = "ktnet"
main()
