"""The shadow's objects in the cluster: made, watched over, judged, and what belongs to them."""
