from __future__ import annotations

import os
import platform
from dataclasses import replace
from pathlib import Path

import pytest

from autokd import registry
from autokd.errors import ConfigError, HardwareError
from autokd.hardware import host as host_module
from autokd.hardware.host import available_cores
from autokd.hardware.profile import (
    HardwareProfile,
    check_host,
    describe_host,
    load_profile,
    pinned_cores,
)

SHIPPED = (
    "cpu_1_thread",
    "cpu_1_thread_batch_32",
    "cpu_2_threads",
    "cpu_4_threads",
    "cpu_all_threads",
    "cuda_gpu",
    "raspberry_pi_5",
)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_profiles_load_and_say_what_they_are(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert len(profile.summary) > 20
    assert profile.min_duration_s <= profile.max_duration_s < profile.timeout_s


def test_every_shipped_file_is_in_the_list() -> None:
    assert set(SHIPPED) <= set(registry.names("profiles"))


def test_shipped_values() -> None:
    assert load_profile("cpu_1_thread_batch_32").batch == 32
    assert load_profile("cpu_all_threads").threads == 0
    assert load_profile("raspberry_pi_5").machine == "aarch64"
    assert load_profile("cuda_gpu").provider == "CUDAExecutionProvider"


def test_own_file(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "# Our gateway\nthreads: 2\ncores: [4, 5]\nlimits: {size_bytes: 2e6, peak_memory_bytes: 16000000}\n"
    )
    profile = load_profile(str(file))
    assert (profile.name, profile.summary, profile.threads, profile.cores) == ("gateway", "Our gateway", 2, (4, 5))
    assert profile.limits == {"size_bytes": 2e6, "peak_memory_bytes": 16e6}


def test_unknown_profile_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="cpu_1_thread"):
        load_profile("cpu_1_thred")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("threads: 1\nthread: 2\n", 2, "threads"),
        ("threads: -1\n", 1, "at least 0"),
        ("threads: 1.5\n", 1, "whole number"),
        ("threads: yes\n", 1, "whole number"),
        ("threads: null\n", 1, "whole number"),
        ("batch: 0\n", 1, "at least 1"),
        ("batch: 1\nbatch: 2\n", 2, "once"),
        ("provider: 3\n", 1, "text"),
        ("runtime: tensorflow\n", 1, "onnxruntime"),
        ("graph_optimization: al\n", 1, "all"),
        ("cores: 3\n", 1, "list"),
        ("cores: [1, 1]\nthreads: 2\n", 1, "different"),
        ("cores: [0, 1]\n", 1, "one a thread"),
        ("limits: {size_byte: 3}\n", 1, "size_bytes"),
        ("limits:\n  size_bytes: small\n", 1, "size_bytes"),
        ("limits: [1]\n", 1, "map"),
        ("min_duration_s: .inf\n", 1, "at least"),
        ("min_duration_s: 5\nmax_duration_s: 2\n", 2, "timeout_s must hold"),
        ("threads: [1\n", 2, "valid YAML"),
        ("- threads\n", None, "mapping"),
        ("", None, "mapping"),
        ("a: !!python/object/apply:os.getcwd []\n", 1, "valid YAML"),
    ],
)
def test_bad_files_are_refused_with_place_and_mend(tmp_path: Path, text: str, line: int | None, words: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_profile(str(file))
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{file}:{line}: " if line else f"{file}: ")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_profile(str(tmp_path / "nowhere.yaml"))


def test_this_host_can_stand_for_one_thread() -> None:
    check_host(load_profile("cpu_1_thread"))
    check_host(load_profile("cpu_all_threads"))
    check_host(HardwareProfile("here", machine=platform.machine()))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"machine": "pdp11"}, "pdp11 machine"),
        ({"board": "Teapot 9"}, "Teapot 9"),
        ({"threads": 4096}, "4096 cores"),
        ({"min_cores": 4096}, "4096 cores"),
        ({"cores": (4095,)}, "4095"),
        ({"provider": "AbacusExecutionProvider"}, "AbacusExecutionProvider"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_another_host_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(HardwareError, match=words):
        check_host(replace(HardwareProfile("other"), **changes))  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs an affinity mask")
def test_the_last_cores_are_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 1, 8, 2})
    monkeypatch.setattr(host_module, "_cpu_quota", lambda: None)
    assert pinned_cores(HardwareProfile("one")) == (8,)
    assert pinned_cores(HardwareProfile("two", threads=2)) == (3, 8)
    assert pinned_cores(HardwareProfile("all", threads=0)) == (1, 2, 3, 8)
    assert pinned_cores(HardwareProfile("named", cores=(0,))) == (0,)


@pytest.mark.parametrize(("quota", "cores"), [(None, 4), (2.0, 2), (1.5, 1), (0.5, 1), (64.0, 4)])
def test_a_containers_quota_counts(monkeypatch: pytest.MonkeyPatch, quota: float | None, cores: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(host_module, "_cpu_quota", lambda: quota)
    assert len(available_cores()) == cores


def test_the_host_describes_itself() -> None:
    host = describe_host()
    assert host["machine"] == platform.machine()
    assert host["onnxruntime"] and host["cpu"] and host["cores"]
