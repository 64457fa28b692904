"""The door: all of the gateway that the author of a provider may import."""
