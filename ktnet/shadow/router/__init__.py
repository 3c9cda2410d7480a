"""A router in front of a Service: each request goes to the laptop that wants it, or to the origin.

In the order in which a client's bytes meet them: `listener` accepts; `sniff` says what is spoken
there; `http1` (with `http1_requests` and `http1_upstream`) and `http2` (with `goaway`) route by
request; everything else goes to the origin by connection (`ktnet.stream.joining`). Heads have to
pass the strict check of `ktnet.wire.http1`, and `bodies` finds the ends of messages; `marks` reads
from the headers whose request it is, `table` knows who wants what (its `routes`).

What begins like an HTTP request is routed as one or refused; it never goes anywhere by bytes.
"""
