from hypothesis import settings

# No test decides by how long it took: a slow machine is not a wrong program.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
