"""A router in front of a Service: each request goes to the laptop that wants it, or to the origin.

In the order in which a client's bytes meet them: `listener` accepts; `sniff` says what is spoken
there; `http1` (with `http1_upstream`) and `http2` (with `goaway`) route request by request,
`passing` everything else by connection. `heads` is the strict check that an HTTP/1 message has to
pass, `bodies` finds its end, `marks` reads from the headers whose request it is; `table` knows who
wants what, `destinations` are where it can go.

What begins like an HTTP request is routed as one or refused; it never goes anywhere by bytes.
"""
