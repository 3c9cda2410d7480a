"""A workload's or a Service's traffic: which, by which ports, taken, kept, and given back."""
