"""A shadow for clusters that can't pull an image of ours: a stock Python image, and the rest by us.

In the order of its making: `platforms` decides for which Python and which nodes; `wheels` has pip
fetch what `lock` says; `bundle` packs them with the shadow's code and cuts that into ConfigMaps;
`bootstrap` is the program that puts it all together again in the pod.
"""
