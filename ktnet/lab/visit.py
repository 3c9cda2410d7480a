"""Makes one request from where it runs and prints what came of it as one line of JSON.

Run inside a lab's laptop: `python -m ktnet.lab.visit http://tomcat.demo/`. The line holds
"seconds" and either "status" and "body", or "error" (the name of the errno) and "message".
"""

from __future__ import annotations

import errno
import json
import sys
import time
import urllib.error
import urllib.request

TIMEOUT_S = 10.0


def visit(url: str) -> dict[str, object]:
    """GETs `url`, without any proxy; never raises for what the network does."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    start_s = time.monotonic()
    try:
        with opener.open(url, timeout=TIMEOUT_S) as response:
            answer: dict[str, object] = {
                "status": response.status,
                "body": response.read().decode(errors="replace"),
            }
    except OSError as raised:
        reason = getattr(raised, "reason", raised)
        number = getattr(reason, "errno", None)
        answer = {
            "error": errno.errorcode.get(number, type(reason).__name__)
            if isinstance(number, int)
            else type(reason).__name__,
            "message": str(reason),
        }
    return {"seconds": time.monotonic() - start_s, **answer}


if __name__ == "__main__":
    print(json.dumps(visit(sys.argv[1])))  # noqa: T201 -- this is what it is for
