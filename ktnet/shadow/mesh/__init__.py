"""The router's pod: which laptops are attached to it, and when it comes and goes.

`process` puts it together from its `arguments`. A laptop attaches by SSH (`attaching`), which only
who may port-forward to this pod can; it registers its mark and becomes one of the `members`, by
which the ports' tables (`ktnet.shadow.router`) are filled and emptied. `readiness` says when this
pod may get requests, `closing` when nobody needs it any more.
"""
