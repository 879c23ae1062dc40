"""The explorer of similarities: its numbers, and that a click in a browser shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from chromium import chromium

from adnet.errors import UserError
from adnet.report.analysis.pooling import pool
from adnet.report.figures.similarity_explorer import Embedded, embedded_sequences, similarity_plot
from adnet.report.read import find_runs


@pytest.fixture(scope="module")
def embedded(two_runs: Path) -> list[Embedded]:
    found, left_out = embedded_sequences(pool(find_runs([two_runs]))[0], 1_000_000, 4)
    assert left_out == []
    return found


def test_easiest_sequence_and_full_model_first(embedded: list[Embedded]) -> None:
    assert [(one.sequence, one.label) for one in embedded] == [
        ("bear", "full"),
        ("bear", "baseline"),
        ("camel", "full"),
        ("camel", "baseline"),
    ]


def test_similarity_is_that_of_the_network(embedded: list[Embedded]) -> None:
    torch = pytest.importorskip("torch")
    from adnet.models.attention import similarity

    one = embedded[0]
    floats = torch.from_numpy(one.values * one.scales[..., None].astype(np.float64)).permute(0, 3, 1, 2)
    expected = similarity(floats[2:], floats[:1], torch.tensor([[3, 5]]))[0, 0].numpy()
    np.testing.assert_allclose(one.similarity(2, 3, 5), expected, rtol=1e-5)
    assert one.similarity(2, 3, 5).sum() == pytest.approx(1)


def test_points_are_chosen_by_rule(embedded: list[Embedded]) -> None:
    foreground, like, unlike = embedded[0].points(1)
    assert foreground == (2, 3)  # the centre of the square
    mask = embedded[0].foreground[1]
    assert not mask[like]
    assert not mask[unlike]
    assert like != unlike
    for nothing in (np.zeros_like(mask), np.ones_like(mask)):
        one = embedded[0]
        masks = np.stack([nothing] * 3)
        assert Embedded(**{**vars(one), "foreground": masks}).points(1) == []


def test_figure_has_a_row_per_variant(embedded: list[Embedded]) -> None:
    plot = similarity_plot(embedded)
    assert plot is not None
    assert len(plot.figure.axes) == 8
    assert [row[0] for row in plot.rows] == ["full"] * 3 + ["baseline"] * 3
    one = embedded[0]
    share = one.similarity(-1, 2, 3)[one.foreground[0]].sum()
    assert plot.rows[0] == ("full", "bear", "00005", "foreground", 2, 3, round(100 * float(share), 3))


@pytest.mark.parametrize("content", [b"", b"PK"])
def test_a_broken_file_is_named(make_enriched_run: Callable[..., Path], content: bytes) -> None:
    run = make_enriched_run("0")
    file = next(run.rglob("bear.npz"))
    file.write_bytes(content)
    (comparison,) = pool(find_runs([run]))
    with pytest.raises(UserError, match=r"bear\.npz: cannot be read as embeddings"):
        embedded_sequences(comparison, 1_000_000, 4)


class Tab(NamedTuple):
    """A page of the browser, its mistakes, and its requests to anything but files."""

    page: Any
    errors: list[str]
    requests: list[str]

    def shown(self, one: Embedded, frame: int, row: int, column: int) -> None:
        """Wait until the page shows this pixel, then compare what it says with what Python computes."""
        width = one.values.shape[2]
        shares = one.similarity(frame, row, column)
        said = f"#explorer output[data-pixel='{row * width + column}'][data-largest='{shares.argmax()}']"
        inside = float(self.page.wait_for_selector(said, state="attached").get_attribute("data-inside"))
        assert inside == pytest.approx(shares[one.foreground[0]].sum(), rel=1e-4)


@pytest.fixture(scope="module")
def tab(report: Path) -> Iterator[Tab]:
    with chromium() as browser:
        page = browser.new_page()
        opened = Tab(page, [], [])
        page.on("pageerror", lambda error: opened.errors.append(str(error)))
        page.on("request", lambda request: opened.requests.append(request.url))
        page.goto((report / "index.html").absolute().as_uri())
        yield opened


def test_clicks_and_keys_show_similarities(tab: Tab, embedded: list[Embedded]) -> None:
    full, baseline = embedded[:2]
    page = tab.page
    anchor, frame = page.locator("#explorer canvas").all()[:2]
    # It opens with a pixel of the foreground of the last frame.
    tab.shown(full, 2, 2, 3)
    before = frame.evaluate("canvas => canvas.toDataURL()")
    box = anchor.bounding_box()
    anchor.click(position={"x": box["width"] * 5 / 6, "y": box["height"] * 0.01})
    tab.shown(full, 2, 0, 5)
    assert frame.evaluate("canvas => canvas.toDataURL()") != before
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    tab.shown(full, 2, 1, 4)
    # Another variant is shown at the same pixel, another frame at its own.
    page.select_option("#explorer [name=label]", "baseline")
    tab.shown(baseline, 2, 1, 4)
    page.select_option("#explorer [name=frame]", "1")
    tab.shown(baseline, 1, 2, 3)
    page.select_option("#explorer [name=sequence]", "camel")
    page.select_option("#explorer [name=label]", "full")
    tab.shown(embedded[2], 2, 2, 3)
    assert tab.errors == []
    assert [url for url in tab.requests if not url.startswith(("file:", "data:"))] == []
