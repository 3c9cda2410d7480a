"""A local web page that shows what this machine's sessions and the cluster are doing.

source     the sessions' control sockets, the cluster, and /proc (`processes`)
feed       asks them while somebody looks, once for all who do
history    samples over time; `timeline`: events; `naming`: whose address: pure
guard      who may ask (token, Host, Origin): pure
actions    what the page may have done
server     the routes: `files` of the page, JSON, `metrics`, events (`stream`)
opening    the page in the user's browser
page/      what the browser runs: plain ES modules, nothing from elsewhere
"""
