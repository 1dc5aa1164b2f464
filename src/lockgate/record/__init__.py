"""What happened, told in one shape everywhere: verdicts, reason codes, timelines, artifacts."""
