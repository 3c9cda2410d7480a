"""A mark beside the others: its labels, the router that tells marks apart, and its members."""
