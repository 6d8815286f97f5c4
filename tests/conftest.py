"""What holds for every test: how hypothesis searches. Fixtures stand beside the tests that use them."""

from hypothesis import settings

settings.register_profile("drumlog", deadline=None, max_examples=100, print_blob=True)
settings.load_profile("drumlog")
