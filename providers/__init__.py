"""The wire formats that Lockgate brings along, registered by entry point like a stranger's."""
