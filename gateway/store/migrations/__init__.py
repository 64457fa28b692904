"""
The schema's versions, one module each, from the oldest to the newest.

A new one is a module `v<number>_<word>.py` with `revision`, `down_revision`, `upgrade` and
`downgrade`, and its number in `schema.REVISIONS`. It says what to do by itself: `tables` is what
the newest version leads to, and changes.
"""
