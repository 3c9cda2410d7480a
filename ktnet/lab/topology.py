"""Who is where in a lab: the addresses that all its parts and all tests agree on. Pure.

    laptop-1 192.168.64.10 --+
    laptop-2 192.168.64.11 --+-- lan 192.168.64.0/24 -- node 192.168.64.1 (API server :6443)
                                                          | 10.244.0.1
                                    pods 10.244.0.3 ... --+   services 10.96.0.0/16 (DNAT)

The laptops have no route to pods or services.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

NODE_NAME = "lab-node"
CLUSTER_DOMAIN = "cluster.local"

LAN = IPv4Network("192.168.64.0/24")
NODE_LAN_ADDRESS = IPv4Address("192.168.64.1")
OFFICE_DNS_ADDRESS = IPv4Address("192.168.64.53")
FIRST_LAPTOP_ADDRESS = IPv4Address("192.168.64.10")
MOST_LAPTOPS = 40
"""They end before the office's resolver."""

POD_RANGE = IPv4Network("10.244.0.0/16")
NODE_POD_RANGE = IPv4Network("10.244.0.0/24")
NODE_POD_ADDRESS = IPv4Address("10.244.0.1")
DNS_POD_ADDRESS = IPv4Address("10.244.0.2")
"""Where the cluster's DNS really listens: the node's own, in the place of a pod."""

SERVICE_RANGE = IPv4Network("10.96.0.0/16")
API_SERVICE_ADDRESS = IPv4Address("10.96.0.1")
API_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{CLUSTER_DOMAIN}",
)
"""As which pods know the API server: its certificate is for these too."""
DNS_SERVICE_ADDRESS = IPv4Address("10.96.0.10")

API_PORT = 6443
DNS_PORT = 53


def laptop_address(number: int) -> IPv4Address:
    """The address of laptop `number`, counted from 1."""
    return FIRST_LAPTOP_ADDRESS + (number - 1)
