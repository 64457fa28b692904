"""The administration: who may use what, how much, and what it cost."""
