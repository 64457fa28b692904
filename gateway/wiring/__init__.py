"""
How the parts are put together: one module for each thing that the application is made of.

Each is imported by its own name: commands use some of them and need not wait for the others.
"""
