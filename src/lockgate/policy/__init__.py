"""Is this change safe to ship in this phase?

    text ─▶ words (postgres.tree) ─▶ facts, against the model of all earlier files ─▶ rules ─▶ findings

``judge.Judge`` walks files in order. ``model`` knows what earlier files built, ``facts`` tells what a statement
locks, rewrites and scans, ``rules`` holds one record a hazard.
"""
