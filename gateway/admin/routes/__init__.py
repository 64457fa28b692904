"""The routes of administration, one module for each resource."""
