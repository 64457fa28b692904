"""How the parts are put together: one module for each thing that the application is made of."""

from .administration import administration_of
from .gauges import watch
from .secrets import peppers_of, secrets_of
from .stores import Stores
from .surfaces import Surfaces

__all__ = ["Stores", "administration_of", "Surfaces", "watch", "peppers_of", "secrets_of"]
