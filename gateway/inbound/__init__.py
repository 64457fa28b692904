"""
The HTTP edge: client bytes in, client bytes out, one module for each dialect.

Each is imported by its own name, because most of them load FastAPI, and whoever only reads the
settings of the edge need not wait for it.
"""
