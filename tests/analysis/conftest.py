"""Figures are drawn coarsely in tests, which takes a fraction of the time; a browser sees them as users do."""

import pytest

from analysis.report import figures


@pytest.fixture(scope="module", autouse=True)
def coarse_figures(request):
    """Fewer pixels an inch."""
    with pytest.MonkeyPatch.context() as patch:
        if not request.module.__name__.endswith("test_browser"):
            patch.setattr(figures, "DPI", 50)
        yield
