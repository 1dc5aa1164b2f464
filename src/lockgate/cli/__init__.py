"""Words in, words and exit codes out; one file a command."""
