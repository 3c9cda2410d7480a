"""What we use of the official client, without all that `import kubernetes` loads by the way.

The `__init__` of its packages import each other's: two clients, the models of the whole API, the
loaders of configuration. That took more of a processor than all else of a command's start. Here the
packages are only where their modules lie, as a namespace package is (PEP 420), while those two are
loaded; whoever imports `kubernetes` later gets all of it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Configuration", "RESTClientObject"]


@contextmanager
def bare_packages(*names: str) -> Iterator[None]:
    """Packages that aren't loaded yet are so without running their `__init__`, for that long.

    Outer ones first. Raises ModuleNotFoundError.
    """
    bare = {}
    for name in names:
        if name in sys.modules:
            continue
        spec = importlib.util.find_spec(name)
        if spec is None:
            raise ModuleNotFoundError(f"no module named {name!r}", name=name)
        sys.modules[name] = bare[name] = importlib.util.module_from_spec(spec)
        outer, _, own = name.rpartition(".")
        if outer:
            setattr(sys.modules[outer], own, bare[name])
    try:
        yield
    finally:
        for name in bare:
            del sys.modules[name]


with bare_packages("kubernetes", "kubernetes.aio"):
    from kubernetes.aio.client.configuration import Configuration
    from kubernetes.aio.client.rest import RESTClientObject
