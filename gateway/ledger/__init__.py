"""Usage records: one for each request, exactly once, from its end to the store."""
