"""Properties are judged by what they show, not by how long a loaded machine takes for an example."""

from hypothesis import settings

settings.register_profile("core", deadline=None)
settings.load_profile("core")
