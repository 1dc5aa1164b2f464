"""Proof on a throw-away PostgreSQL: what reading SQL cannot settle is measured.

    files ─▶ base ─▶ scratch database ─▶ replay, traced ─▶ checks, queries, impact ─▶ verdict ─▶ rehearsal.json

``rehearse.rehearse`` is the whole of it. ``ground`` says on which server, ``replay`` applies the files through the real
engine, ``trace`` turns what was observed into facts and sets them against the policy's claims, ``rows`` makes believable
rows, ``compatibility`` runs the queries of the releases that stay alive, ``proof`` tells a release whether a plan has a
fresh passing rehearsal. The target of the project is never touched.
"""
