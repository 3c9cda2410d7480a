"""A local web page that shows what this machine's sessions and the cluster are doing.

guard     who may ask: pure (token, Host, Origin)
history   samples over time: pure
feed      asks the sessions while somebody looks, once for all who do
stream    what was read, as server-sent events
server    the routes: page, JSON, stream
page/     what the browser runs: plain ES modules, nothing from elsewhere
"""
