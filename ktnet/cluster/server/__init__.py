"""The API server: requests to it, its refusals, its clock, and keeping up with what it holds."""
