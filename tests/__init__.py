from hypothesis import settings

# No test decides by how long it took: a slow machine is not a wrong program. Each run has examples of its own.
settings.register_profile("tests", deadline=None, max_examples=50)
settings.load_profile("tests")
