"""The answer of ``check`` in the formats of other programs: pure functions from a report to text, one file a format."""
