"""Where fetched files are kept."""

import pytest

from leam.errors import WeightsError
from leam.weights.fetching import cache_folder, cached_path


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/",
        "https://example.org/a/%2e%2e",
        "https://x/a%2F..%2F",
        "https://x/a%5C..%5Cb",
    ],
)
def test_a_url_never_names_a_file_outside_the_cache(url):
    with pytest.raises(WeightsError, match=r"mine: the url .* names no file"):
        cached_path("mine", url)


def test_the_cache_is_the_systems_own_by_default(monkeypatch, tmp_path):
    monkeypatch.delenv("LEAM_CACHE", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "leam"
