"""What both ends of the tunnel have to agree on: pure functions and types, no I/O at all."""
