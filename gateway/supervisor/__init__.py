"""
Several workers behind one address: a small parent that binds the sockets, starts the workers,
replaces one that dies, and speaks for all of them.

The parent answers no request. Whichever worker is asked for metrics, health or a reload asks the
parent, which asks them all: so that every answer is of the whole, wherever it comes from.
"""
