"""The official client is loaded in part, and whoever wants all of it gets it."""

import subprocess
import sys

LATER = """
import sys
import ktnet.cluster.server.transport
assert "kubernetes" not in sys.modules, "its packages are as if nobody had asked for them"
loaded = {name for name in sys.modules if name.startswith("kubernetes.")}
assert "kubernetes.aio.client.rest" in loaded
assert not any(".models" in name or ".config." in name for name in loaded), loaded
import kubernetes.aio
assert kubernetes.client.CoreV1Api and kubernetes.aio.client.CoreV1Api
from kubernetes.aio.client.rest import RESTClientObject
assert RESTClientObject is ktnet.cluster.server.transport.RESTClientObject
"""

BEFORE = """
import sys
import kubernetes.aio
import ktnet.cluster.server.transport
assert sys.modules["kubernetes.aio"] is kubernetes.aio
assert ktnet.cluster.server.transport.Configuration is kubernetes.aio.client.Configuration
"""


def test_the_rest_of_it_is_loaded_by_who_wants_it() -> None:
    subprocess.run([sys.executable, "-c", LATER], check=True)


def test_who_has_loaded_it_keeps_it() -> None:
    subprocess.run([sys.executable, "-c", BEFORE], check=True)
