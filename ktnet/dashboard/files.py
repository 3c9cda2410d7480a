"""The page's files, read once: what isn't among them is no path of this server."""

from __future__ import annotations

from importlib.resources import files

TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


def read_page() -> dict[str, tuple[str, bytes]]:
    """From a path ("/", "/main.js") to content type and octets."""
    found = {}
    for each in files("ktnet.dashboard").joinpath("page").iterdir():
        suffix = each.name[each.name.rfind(".") :]
        if suffix in TYPES:
            path = "/" if each.name == "index.html" else f"/{each.name}"
            found[path] = (TYPES[suffix], each.read_bytes())
    return found
