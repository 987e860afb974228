"""The generated pages of the reference say what the code says."""

import pytest
from scripts.reference import PAGES
from scripts.setup import TREE


@pytest.mark.parametrize("path", PAGES)
def test_no_generated_page_is_stale(path: str) -> None:
    written = (TREE / path).read_text(encoding="utf-8")

    assert written == PAGES[path](), "run `make docs`"
