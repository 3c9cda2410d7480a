"""A mark in Istio's objects: planned, recorded, added, and taken out whatever else has changed."""
