"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# A busy machine is no fault of the code: no test asserts a time.
settings.register_profile("dismaiflow", deadline=None)
settings.load_profile("dismaiflow")
