"""One record per request: its log line, its counts, its spans. Each is an observer of its own."""
