"""What runs in the lab's pods: `http_echo`, `streams` and `udp_echo`.

Each is one file that needs the standard library only, run with `python -I -S`, so that a pod is
up in some 20 ms.
"""
