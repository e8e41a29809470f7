"""What the tests of recognizers share."""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small networks run fastest on one thread, by far so on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
