"""`python -m ktnet.shadow`, in a pod that has no directory to write to."""

from __future__ import annotations

import os
import signal
import sys

# Process 1 of a container is killed by no signal that it does not handle, and the imports below
# take a while: a session given up meanwhile would have to wait for the pod's whole grace.
signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))

# asyncssh looks for an optional library (liboqs) as soon as it is imported, and ctypes finds one
# by running a C compiler on a temporary file. Where an image has a compiler that takes time, and
# fails on a read-only disk. The shadow never starts a program, so let none be found.
os.environ["PATH"] = "/nonexistent"

if __name__ == "__main__":
    if sys.argv[1:2] == ["router"]:
        from ktnet.shadow.mesh.process import main as run_router

        sys.exit(run_router(sys.argv[2:]))
    from ktnet.shadow.process import main

    sys.exit(main())
