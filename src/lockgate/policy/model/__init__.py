"""What the earlier files built: replayed statement by statement, or read from a catalogue snapshot."""
