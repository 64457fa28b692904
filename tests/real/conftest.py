"""What the tests against real servers share."""

import pytest

pytest.register_assert_rewrite("tests.real.suite")
