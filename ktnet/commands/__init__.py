"""What users type: one short file a command, which parses, calls and prints."""
