from __future__ import annotations

import numpy as np
from videos import pictures

from adnet.data.overlay import COLOUR, draw_overlay

MASK = np.zeros((48, 80), bool)
MASK[10:30, 20:60] = True


def test_drawn_inside_the_mask_only() -> None:
    image = pictures(1)[0]
    drawn = draw_overlay(image, MASK)
    np.testing.assert_array_equal(drawn[~MASK], image[~MASK])
    np.testing.assert_array_equal(drawn[10, 20:60], np.tile(COLOUR, (40, 1)))  # the outline
    np.testing.assert_allclose(drawn[20, 40], 0.55 * image[20, 40] + 0.45 * COLOUR, atol=0.5)
    np.testing.assert_array_equal(draw_overlay(image, np.zeros_like(MASK)), image)
    assert draw_overlay(image, np.ones_like(MASK)).shape == image.shape
