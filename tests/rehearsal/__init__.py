"""Rehearsals on a throw-away server."""
