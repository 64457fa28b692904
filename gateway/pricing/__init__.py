"""Tokens -> nano-dollars."""
