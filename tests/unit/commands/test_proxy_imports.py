"""Proxy mode gets as far as the kubeconfig where there is nothing of Linux's networking."""

import subprocess
import sys

PROGRAM = """
import sys

class Elsewhere:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"pyroute2", "jeepney"} or name.startswith(
            ("ktnet.capture", "ktnet.host.channel", "ktnet.host.netlink")
        ):
            raise ImportError(f"{name} is imported")

sys.meta_path.insert(0, Elsewhere())
from ktnet.cli import main
sys.argv = ["ktnet", "connect", "--mode", "proxy", "--kubeconfig", "/nonexistent/config"]
main()
"""


def test_nothing_of_the_other_mode_is_imported():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 2, done.stderr
    assert "/nonexistent/config" in done.stderr
