"""The NAS-Bench-201 benchmark on a small table: what is finished is read, and a table says what was found."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import nas_bench_201
import numpy as np
import pytest

DEVICES = ("raspi4", "fpga")


@pytest.fixture
def bench(tmp_path: Path) -> nas_bench_201.Bench:
    """All cells; each operation adds latency and accuracy."""
    codes = np.array(list(itertools.product(range(5), repeat=6)))
    columns: dict[str, Any] = {"code": np.array(["".join(map(str, c)) for c in codes], dtype="S6")}
    work = (codes == 3).sum(axis=1) + 0.4 * (codes == 2).sum(axis=1)
    columns |= {f"lat_ms_{d}": 1.0 + work * (1 + i) for i, d in enumerate(DEVICES)}
    columns |= {f"acc{kind}_cifar100": 55.0 + 3 * work for kind in ("200_test", "12_val")}
    columns |= {f"{n}_cifar100": work for n in ("params_M", "zc_naswot", "zc_logsynflow")}
    np.savez(tmp_path / "table.npz", **columns)
    return nas_bench_201.Bench(tmp_path / "table.npz")


def test_a_finished_study_is_read_not_repeated(
    bench: nas_bench_201.Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = (["optuna:random"], DEVICES, 2, 60, "test")
    first = nas_bench_201.table(tmp_path / "kept", bench, *sizes)
    assert len(list((tmp_path / "kept").glob("*.json"))) == 4
    monkeypatch.setattr(nas_bench_201, "run", None)
    assert nas_bench_201.table(tmp_path / "kept", bench, *sizes) == first
    assert "| `optuna:random` | 0." in first
    assert "at 100" not in first


def test_a_front_that_was_found_whole_has_ratio_one(bench: nas_bench_201.Bench) -> None:
    assert bench.ratio("fpga", range(len(bench.row))) == pytest.approx(1.0)
    assert bench.ratio("fpga", [0]) == 0.0
