"""`python -m ktnet.shadow`, in a pod that has no directory to write to."""

from __future__ import annotations

import os
import sys

# asyncssh looks for an optional library (liboqs) as soon as it is imported, and ctypes finds one
# by running a C compiler on a temporary file. Where an image has a compiler that takes time, and
# fails on a read-only disk. The shadow never starts a program, so let none be found.
os.environ["PATH"] = "/nonexistent"

from ktnet.shadow.process import main

if __name__ == "__main__":
    sys.exit(main())
