"""The study file: defaults, overrides, strictness, and the plan it becomes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import autokd
from autokd.config.load import from_dict, from_yaml
from autokd.config.plan import Plan, difference, make_plan
from autokd.config.study_file import EDITABLE, StudyConfig, TeacherConfig
from autokd.errors import ConfigError

TEMPLATE = Path(autokd.__file__).parent / "config" / "study_template.yaml"
SMALLEST: dict[str, Any] = {
    "name": "s",
    "data": {"source": "digits"},
    "teacher": {"family": "mobilenet"},
    "space": "digits",
    "hardware": ["cpu_1_thread"],
    "objectives": ["maximize accuracy", "minimize latency_ms"],
}


def changed(**keys: Any) -> dict[str, Any]:
    return copy.deepcopy(SMALLEST) | keys


def plan_of(raw: dict[str, Any], *overrides: str) -> Plan:
    return make_plan(from_dict(raw, overrides))


# ------------------------------------------------------------------------------------------------ defaults


def test_defaults_of_the_smallest_study() -> None:
    config = from_dict(SMALLEST)
    assert (config.sampler, config.runner, config.concurrency, config.seed) == ("optuna:tpe", "auto", "auto", 0)
    assert (config.budget.trials, config.budget.wall_s, config.budget.cpu_s) == (30, None, None)
    assert config.training.total_samples(1000) == 20_000
    assert config.distillation.method == "kd"
    assert config.resources.device == "auto"
    assert config.constraints == []


def test_training_length() -> None:
    assert from_dict(changed(training={"samples": 7})).training.total_samples(1000) == 7
    assert from_dict(changed(training={"epochs": 1.5})).training.total_samples(1000) == 1500


def test_nothing_of_the_input_is_changed() -> None:
    raw = copy.deepcopy(SMALLEST)
    from_dict(raw, ["teacher.onnx=t.onnx", "budget.trials=3"])
    assert raw == SMALLEST


# --------------------------------------------------------------------------------------------------- --set


@pytest.mark.parametrize(
    ("override", "where", "value"),
    [
        ("budget.trials=50", "budget.trials", 50),
        ("training.lr=1e-2", "training.lr", 0.01),
        ("name=other name", "name", "other name"),
        ("hardware=[cpu_1_thread, cpu_2_threads]", "hardware", ["cpu_1_thread", "cpu_2_threads"]),
        ("budget={trials: 2, wall_s: 9}", "budget.wall_s", 9.0),
        ("budget.wall_s=null", "budget.wall_s", None),
        ("concurrency=3", "concurrency", 3),
        ("reference_point.accuracy=0.5", "reference_point", {"accuracy": 0.5}),
        ("data.source=npz", "data.source", "npz"),
        (" training.batch_size =32", "training.batch_size", 32),
    ],
)
def test_set_is_dotted_and_its_values_are_yaml(override: str, where: str, value: object) -> None:
    found: Any = from_dict(SMALLEST, [override])
    for part in where.split("."):
        found = getattr(found, part)
    assert found == value


@pytest.mark.parametrize("text", ["budget.trials", "=3", "a..b=3", ".a=1", ""])
def test_set_must_be_key_and_value(text: str) -> None:
    with pytest.raises(ConfigError, match="key=value"):
        from_dict(SMALLEST, [text])


def test_set_below_a_plain_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="name = 's'"):
        from_dict(SMALLEST, ["name.first=x"])


def test_set_of_an_unknown_key_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"budget\.trails.*'trials'"):
        from_dict(SMALLEST, ["budget.trails=3"])


def test_one_kind_of_teacher_replaces_the_other() -> None:
    raw = changed(teacher={"family": "mobilenet", "params": {"stages": 1}, "training": {"epochs": 3}})
    config = from_dict(raw, ["teacher.onnx=/t.onnx"])
    assert (config.teacher.kind, config.teacher.target, config.teacher.params) == ("onnx", "/t.onnx", {})
    assert from_dict(raw, ["teacher.family=resnet"]).teacher.params == {"stages": 1}


@pytest.mark.parametrize("turn", [1, -1])
def test_a_new_teacher_and_its_options_may_come_in_any_order(turn: int) -> None:
    overrides = ["teacher.torch=mine:make", "teacher.weights=/w.safetensors", "teacher.input.scale=0.5"][::turn]
    teacher = from_dict(SMALLEST, overrides).teacher
    assert (teacher.kind, teacher.weights) == ("torch", "/w.safetensors")
    assert teacher.input is not None
    assert teacher.input.scale == 0.5


def test_samples_and_epochs_replace_each_other() -> None:
    raw = changed(training={"epochs": 3}, teacher={"family": "mobilenet", "training": {"samples": 9}})
    config = from_dict(raw, ["training.samples=100", "teacher.training.epochs=2"])
    assert (config.training.samples, config.training.epochs) == (100, None)
    assert (config.teacher.training.samples, config.teacher.training.epochs) == (None, 2)


def test_the_last_override_wins() -> None:
    assert from_dict(SMALLEST, ["seed=1", "seed=2"]).seed == 2


# --------------------------------------------------------------------------------------------- strictness


def without(key: str) -> dict[str, Any]:
    return {k: v for k, v in SMALLEST.items() if k != key}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        *[(without(key), repr(key)) for key in SMALLEST],
        (changed(objectivs=[]), "'objectives'"),
        (changed(interval=3), "'interval'"),
        (changed(strategy="x"), "'strategy'"),
        (changed(int=3), "'int'"),
        (changed(training={"learning_rate": 1}), "'training.learning_rate'"),
        (changed(training={"lr": 0}), "training.lr"),
        (changed(training={"lr": float("inf")}), "training.lr"),
        (changed(training={"optimizer": "adam"}), "training.optimizer"),
        (changed(training={"samples": 1, "epochs": 1}), "give one"),
        (changed(training={"label_smoothing": 1}), "label_smoothing"),
        (changed(training={"precision": "float16"}), "precision"),
        (changed(objectives=["maximize accuracy"]), "two or three objectives"),
        (changed(objectives=["maximize accuracy"] * 4), "objectives"),
        (changed(hardware=[]), "at least one profile"),
        (changed(hardware="cpu_1_thread"), "hardware"),
        (changed(concurrency=0), "concurrency"),
        (changed(concurrency="many"), "concurrency"),
        (changed(name="a/b"), "name"),
        (changed(name=".."), "name"),
        (changed(name=""), "name"),
        (changed(seed=-1), "seed"),
        (changed(budget={"trials": 0}), "budget.trials"),
        (changed(teacher={}), "exactly one of"),
        (changed(teacher={"family": "a", "onnx": "b"}), "exactly one of"),
        (changed(teacher={"famly": "a"}), "'family'"),
        (changed(teacher={"family": "a", "input": {"scal": 2}}), "'scale'"),
        (changed(teacher={"family": "a", "training": {"epoch": 2}}), "'epochs'"),
        (changed(resources={"device": "gpu"}), "resources.device"),
        (changed(storage={"max_gb": -1}), "storage.max_gb"),
    ],
)
def test_what_a_study_file_must_not_say(raw: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(raw)
    assert words in str(caught.value)


def test_an_error_names_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(TEMPLATE.read_text(encoding="utf-8").replace("  batch_size: 64", "  batchsize: 64"), "utf-8")
    line = next(i for i, t in enumerate(file.read_text("utf-8").splitlines(), 1) if "batchsize" in t)
    with pytest.raises(ConfigError) as caught:
        from_yaml(file)
    assert str(caught.value) == (
        f"{file}:{line}: unknown key, but got 'training.batchsize'. Did you mean 'batch_size'?"
    )


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"space": "digit"}, "'digits'"),
        ({"sampler": "optuna:tpee"}, "'optuna:tpe'"),
        ({"runner": "rey"}, "'ray'"),
        ({"hardware": ["cpu_1_tread"]}, "'cpu_1_thread'"),
        ({"data": {"source": "digitz"}}, "'digits'"),
        ({"teacher": {"family": "mobilnet"}}, "'mobilenet'"),
        ({"distillation": {"method": "kdd"}}, "'kd'"),
        ({"distillation": {"temprature": 3}}, "temprature"),
        ({"distillation": {"temperature": 0}}, "temperature"),
        ({"objectives": ["maximize acuracy", "minimize macs"]}, "'accuracy'"),
        ({"objectives": ["maximize accuracy", "maximize accuracy"]}, "differ"),
        ({"objectives": ["maximize accuracy", "minimize latency_ms@pi"]}, "hardware"),
        ({"objectives": ["maximize accuracy", "minimize nosuch.module:metric"]}, "nosuch"),
        ({"constraints": ["nosuch.module:metric >= 1"]}, "nosuch"),
        ({"constraints": ["size_bytes <= -1"]}, "possible"),
        ({"reference_point": {"acuracy": 0.5}}, "'accuracy'"),
        ({"hardware": ["cpu_1_thread", "cpu_1_thread"]}, "different names"),
    ],
)
def test_what_a_plan_refuses(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_of(changed(**keys))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"method": {"choice": ["kd", "nun"], "stage": "distill"}}, "'none'"),
        ({"alfa": {"float": [0.1, 0.9], "stage": "distill"}}, "alfa"),
        ({"alpha": {"float": [0.5, 1.5], "stage": "distill"}}, "alpha"),
        ({"temperature": {"choice": [4, 0], "stage": "distill"}}, "temperature"),
        (
            {
                "method": {"choice": ["kd", "none"], "stage": "distill"},
                "alpha": {"float": [0.1, 0.9], "stage": "distill"},
            },
            "when: {method: none}",
        ),
        ({"optimizer": {"choice": ["sgd", "adam"], "stage": "distill"}}, "'adam'"),
        ({"batch_size": {"choice": [32, 0], "stage": "distill"}}, "batch_size"),
        ({"epochs": {"float": [-1, 5], "stage": "distill"}}, "epochs"),
        ({"lr": {"float": [0, 0.5], "stage": "distill"}}, "lr"),
        ({"importance": {"choice": ["l1", "l3"], "stage": "prune"}}, "'l1'"),
        ({"tune_lr": {"float": [0, 0.1], "stage": "prune"}}, "tune_lr"),
    ],
)
def test_a_space_that_some_stage_could_not_read_is_refused(parameters: dict[str, Any], words: str) -> None:
    space = {"family": "mobilenet", "parameters": {"stem_width": {"choice": [8], "stage": "build"}} | parameters}
    with pytest.raises(ConfigError) as caught:
        plan_of(changed(space=space))
    assert words in str(caught.value)


def test_searched_training_replaces_the_fixed_one() -> None:
    space = {"family": "mobilenet", "parameters": {"samples": {"int": [100, 300], "stage": "distill"}}}
    assert plan_of(changed(space=space, training={"epochs": 3})).config.training.epochs == 3


# ------------------------------------------------------------------------------------------ files and paths


def test_the_template_loads_and_plans() -> None:
    plan = make_plan(from_yaml(TEMPLATE))
    assert plan.config.name == "digits"
    assert [str(o) for o in plan.objectives] == ["maximize accuracy", "minimize latency_ms@cpu_1_thread"]
    assert plan.constraints == () and plan.space.name == "mobilenet_8", "nothing in it belongs to digits but the data"
    assert Plan.from_json(plan.to_json()) == plan


def test_the_template_shows_every_top_level_key() -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    for key in StudyConfig.model_fields:
        assert f"\n{key}:" in text or f"\n# {key}:" in text, key


def test_every_commented_line_of_the_template_is_allowed() -> None:
    raw = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    raw["budget"] |= {"wall_s": 1800, "cpu_s": 3600, "until": "gain < 0.5%"}
    raw["training"] |= {"lr": 0.2, "tune_samples": 10000}
    raw["data"] |= {"validation_fraction": 0.1, "test_fraction": 0.15}
    raw["reference_point"] = {"accuracy": 0.5, "latency_ms@cpu_1_thread": 1.0}
    raw["teacher"] = {"family": "mobilenet", "params": {"stem_width": 32, "width_1": 64, "width_2": 128}}
    raw["teacher"] |= {"training": {"epochs": 30}}
    raw["teacher"]["input"] = {"scale": 0.00392, "mean": [0.5], "std": [0.25], "layout": "NCHW"}
    raw["constraints"] = ["size_bytes <= 500 kB", "latency_ms <= 5 ms"]
    raw["budget"]["trials"] = 24
    raw["resources"]["memory_gb"] = 4
    raw["storage"] |= {"url": "sqlite:///autokd.db", "path": ".autokd"}
    make_plan(from_dict(raw))


def test_files_beside_the_study_file_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "studies"
    folder.mkdir()
    (folder / "space.yaml").write_text("family: mobilenet\nparameters: {stem_width: {choice: [8], stage: build}}\n")
    (folder / "mine.yaml").write_text("threads: 1\n")
    for name in ("x.npz", "t.onnx"):
        (folder / name).touch()
    raw = changed(
        data={"source": "npz", "path": "x.npz"},
        teacher={"onnx": "t.onnx"},
        space="space.yaml",
        hardware=["mine.yaml"],
    )
    (folder / "study.yaml").write_text(yaml.safe_dump(raw))
    monkeypatch.chdir(tmp_path)
    config = from_yaml(folder / "study.yaml")
    assert config.data.path == str(folder / "x.npz")
    assert config.teacher.target == str(folder / "t.onnx")
    plan = make_plan(config)
    assert plan.space.name == "space"
    assert plan.profiles[0].name == "mine"
    assert str(plan.objectives[1]) == "minimize latency_ms@mine"


def test_a_study_file_that_is_a_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match=r"s\.yaml:1: .*mapping"):
        from_yaml(tmp_path / "s.yaml")


# ------------------------------------------------------------------------------------------------- the plan

INLINE = {
    "family": "mobilenet",
    "parameters": {
        "stages": {"choice": [1, 2], "stage": "build"},
        "depth_2": {"int": [1, 2], "stage": "build", "when": {"stages": 2}},
        "block_1": {"choice": ["plain", "inverted"], "stage": "build"},
        "bits": {"choice": [32, 8], "stage": "quantize"},
    },
}


def test_a_plan_survives_json_in_the_order_written() -> None:
    plan = plan_of(changed(space=INLINE, constraints=["size_bytes <= 40 kB"]))
    back = Plan.from_json(plan.to_json())
    assert back == plan
    assert [p.name for p in back.space.parameters] == list(INLINE["parameters"])
    assert back.to_json() == plan.to_json()
    assert back.fingerprint() == plan.fingerprint()


def test_a_plan_from_the_ledger_needs_no_file(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(INLINE, sort_keys=False))
    (tmp_path / "slow.yaml").write_text("threads: 1\nlimits: {latency_ms: 5, size_bytes: 40000}\n")
    plan = plan_of(changed(space=str(tmp_path / "space.yaml"), hardware=[str(tmp_path / "slow.yaml")]))
    (tmp_path / "space.yaml").unlink()
    (tmp_path / "slow.yaml").unlink()
    back = Plan.from_json(plan.to_json())
    assert back == plan
    assert [str(c) for c in back.constraints] == ["latency_ms@slow <= 5", "size_bytes <= 40000"]


def test_a_stated_constraint_comes_before_a_profiles_own(tmp_path: Path) -> None:
    (tmp_path / "slow.yaml").write_text("threads: 1\nlimits: {size_bytes: 40000}\n")
    plan = plan_of(changed(hardware=[str(tmp_path / "slow.yaml")], constraints=["size_bytes <= 10000"]))
    assert [str(c) for c in plan.constraints] == ["size_bytes <= 10000"]


@pytest.mark.parametrize(
    "override",
    ["budget.trials=7", "budget.wall_s=5", "runner=inline", "concurrency=2", "resources.cpus_per_trial=2",
     "storage.max_gb=1"],
)  # fmt: skip
def test_some_things_may_change_between_search_and_resume(override: str) -> None:
    plan = plan_of(SMALLEST)
    changed_plan = plan.with_overrides([override])
    assert changed_plan != plan
    assert changed_plan.fingerprint() == plan.fingerprint()
    assert override.split(".")[0].split("=")[0] in EDITABLE


@pytest.mark.parametrize(
    "override",
    ["seed=1", "training.lr=0.3", "teacher.onnx=/t.onnx", "space=tabular", "objectives=[maximize accuracy, minimize macs]",
     "data.source=npz", "constraints=[macs <= 5]", "hardware=[cpu_2_threads]", "sampler=optuna:random",
     "reference_point.accuracy=0.2", "distillation.alpha=0.3", "name=other"],
)  # fmt: skip
def test_the_rest_may_not(override: str) -> None:
    with pytest.raises(ConfigError, match="keeps its data"):
        plan_of(SMALLEST).with_overrides([override])


def test_overrides_after_the_fact_are_checked_too() -> None:
    with pytest.raises(ConfigError, match="'ray'"):
        plan_of(SMALLEST).with_overrides(["runner=rai"])
    with pytest.raises(ConfigError, match="trials"):
        plan_of(SMALLEST).with_overrides(["budget.trials=0"])


def test_an_option_of_nothing_survives_an_override() -> None:
    plan = plan_of(changed(data={"source": "csv", "path": "/x.csv", "target": None}))
    assert plan.with_overrides(["budget.trials=3"]).config.data.options == {"target": None}


def test_a_difference_is_named_by_its_keys() -> None:
    old = plan_of(SMALLEST)
    assert difference(old, plan_of(SMALLEST, "training.lr=0.3", "seed=4")) == "seed, training.lr"
    assert difference(old, plan_of(SMALLEST, "budget.trials=2")) == ""


def test_concurrency() -> None:
    assert plan_of(SMALLEST, "concurrency=5").concurrency == 5
    assert plan_of(SMALLEST, "resources.cpus_per_trial=1000").concurrency == 1
    assert plan_of(SMALLEST).concurrency >= 1


def test_teacher_options_are_plain_values() -> None:
    teacher = TeacherConfig.model_validate({"torch": "m:f", "args": {"a": 1}, "input": {"mean": [0.1, 0.2]}})
    assert json.loads(json.dumps(teacher.options()))["input"] == {"mean": [0.1, 0.2]}
    assert teacher.options()["torch"] == "m:f"
