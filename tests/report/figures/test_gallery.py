from __future__ import annotations

from pathlib import Path

import numpy as np

from adnet.report.figures.gallery import Pictures, Tile


def test_a_label_longer_than_a_file_name(tmp_path: Path) -> None:
    """Labels list the settings in which runs differ, and other methods are called what they like."""
    label = "full (" + ", ".join(f"setting{number}=value{number}" for number in range(30))
    picture = np.zeros((4, 6, 3), np.uint8)
    names = [*(f"{label}, {end})" for end in ("seed=1", "seed=2")), "a b"]
    tiles = [Tile(name, "", "", "", picture) for name in names]
    (group,) = Pictures(tmp_path).gallery("", "", "", {"": tiles}).groups
    assert all(shown["source"].startswith("data:image/jpeg") for shown in group["pictures"])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert (len(names), names[0]) == (3, "a_b.png")
    assert max(map(len, names)) <= 204
    assert all(name.startswith("full_setting0_value0_setting1") for name in names[1:])
