"""The script a user would write today from the documentation: the yardstick of ``search_cost.py``.

    python benchmarks/peers/ray_optuna.py TASK.json FOLDER --cpu-s 1560 --seed 0

Ray Tune runs the trials, its OptunaSearch proposes them for two objectives. A trial is one whole distillation with the
teacher scoring every batch of the loop, then pruning and tuning where the candidate asks for it, export, int8 where it
asks for it, and only then the latency. Each step is as its own documentation shows it, with the settings recommended
there: https://docs.ray.io/en/latest/tune/examples/optuna_example.html (define-by-run space, several objectives),
https://docs.pytorch.org/tutorials/beginner/knowledge_distillation_tutorial.html, https://github.com/VainF/Torch-Pruning,
https://docs.pytorch.org/docs/stable/onnx.html, and the docstring of ``onnxruntime.quantization.quantize_static``.

Of autokd it takes what makes the comparison fair and costs no time: the networks, the search space, the split data and
the trained teacher. ``FOLDER/trials.jsonl`` gets a line a finished trial: parameters, CPU seconds of the trial (not those of
its process before it), CPU seconds so far, accuracy of the file on the validation split, latency by the script's own clock.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import ray
import torch
import torch.nn.functional as F
import torch_pruning as tp
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from ray import tune
from ray.tune.search.optuna import OptunaSearch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from autokd.config.space import SearchSpace, load_space
from autokd.data.dataset_store import open_dataset
from autokd.students.build import build_module
from autokd.trial import Stage

Config = dict[str, Any]
ERRORS_IN_A_ROW = 5


def distill(
    student: nn.Module, teacher: nn.Module, data: TensorDataset, samples: int, lr: float, config: Config
) -> None:
    """One whole training; ``config`` is the candidate's."""
    loader = DataLoader(data, batch_size=config["batch_size"], shuffle=True, drop_last=True)
    steps = max(1, samples // config["batch_size"])
    decay = config["weight_decay"]
    optimizer = torch.optim.SGD(student.parameters(), lr=lr, momentum=0.9, weight_decay=decay, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=lr, total_steps=steps, pct_start=0.25, cycle_momentum=False
    )
    student.train()
    epochs = itertools.chain.from_iterable(itertools.repeat(loader))
    for inputs, labels in itertools.islice(epochs, steps):
        optimizer.zero_grad()
        scores = student(inputs)
        loss = F.cross_entropy(scores, labels)
        if config.get("method", "kd") == "kd":
            temperature, alpha = config.get("temperature", 4.0), config.get("alpha", 0.9)
            with torch.no_grad():
                wanted = teacher(inputs)
            soft = F.kl_div(
                F.log_softmax(scores / temperature, dim=1),
                F.softmax(wanted / temperature, dim=1),
                reduction="batchmean",
            )
            loss = alpha * temperature**2 * soft + (1 - alpha) * loss
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        optimizer.step()
        schedule.step()


def prune(student: Any, ratios: dict[str, float], example: torch.Tensor) -> None:
    """Cut channels stage by stage, in place."""
    network = student.model
    groups = network.prune_groups()
    wanted = {layer: ratio for name, ratio in ratios.items() for layer in groups[name]}
    pruner = tp.pruner.BasePruner(
        network,
        student.prepare(example),
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=0.0,
        pruning_ratio_dict=wanted,
        ignored_layers=[network.head],
        round_to=8,
    )
    pruner.step()


class Calibration(CalibrationDataReader):
    """Batches of samples for the ranges of the activations."""

    def __init__(self, inputs: np.ndarray) -> None:
        self.batches: Iterator[dict[str, np.ndarray]] = iter([{"input": b} for b in np.array_split(inputs, 8)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)


def export(student: nn.Module, example: torch.Tensor, file: Path) -> None:
    """A file with dynamic batch, by PyTorch's default exporter."""
    torch.onnx.export(
        student.eval(),
        (example,),
        str(file),
        input_names=["input"],
        output_names=["scores"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
        verbose=False,
    )


def quantize(source: Path, target: Path, calibration: np.ndarray) -> None:
    """Static int8 as recommended for an x86 processor with VNNI."""
    ready = source.with_suffix(".ready.onnx")
    quant_pre_process(str(source), str(ready))
    quantize_static(
        str(ready),
        str(target),
        Calibration(calibration),
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def session_of(file: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def accuracy(session: ort.InferenceSession, inputs: np.ndarray, labels: np.ndarray) -> float:
    hits = 0
    for start in range(0, len(inputs), 256):
        scores = session.run(None, {"input": inputs[start : start + 256]})[0]
        hits += int((scores.argmax(axis=1) == labels[start : start + 256]).sum())
    return hits / len(inputs)


def latency_ms(session: ort.InferenceSession, sample: np.ndarray) -> float:
    """Median of 200 calls with one sample."""
    for _ in range(20):
        session.run(None, {"input": sample})
    times = []
    for _ in range(200):
        began = time.perf_counter()
        session.run(None, {"input": sample})
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3


def trial(config: Config, task: Config, arrays: dict[str, np.ndarray]) -> None:
    """Ray Tune's trainable: one candidate."""
    files = Path(task["files"])
    name = tune.get_context().get_trial_id()
    # Ray gives every trial a fresh process; what that imports, the exporter at its first use too, is not charged
    export(nn.Linear(1, 1), torch.zeros(2, 1), files / f"{name}.first.onnx")
    began = time.process_time()
    torch.manual_seed(0)
    space, dataset = load_space(task["space"]), open_dataset(Path(task["dataset"]))
    outputs = task["outputs"]
    teacher = build_module(task["teacher"]["family"], task["teacher"]["params"], dataset.spec, outputs, 0)
    teacher.load_state_dict(load_file(task["weights"]))
    teacher.eval()
    student = build_module(space.family, space.of_stage(Stage.BUILD, config), dataset.spec, outputs, 0)
    data = TensorDataset(torch.tensor(arrays["train_inputs"]), torch.tensor(arrays["train_labels"]))
    example = data.tensors[0][:2]
    recipe = task["training"] | config
    distill(student, teacher, data, recipe["samples"], recipe["lr"], recipe)
    cuts = {name.removeprefix("prune_"): r for name, r in config.items() if name.startswith("prune_") and r > 0}
    if cuts:
        prune(student, cuts, example)
        distill(student, teacher, data, recipe["tune_samples"], recipe["lr"] / 2, recipe)
    file = files / f"{name}.onnx"
    export(student, example, file)
    if config.get("bits", 32) == 8:
        quantized = file.with_suffix(".int8.onnx")
        quantize(file, quantized, arrays["calibration_inputs"])
        file = quantized
    session = session_of(file)
    right = accuracy(session, arrays["validation_inputs"], arrays["validation_labels"])
    own_ms = latency_ms(session, arrays["validation_inputs"][:1])
    cpu_s = time.process_time() - began
    tune.report({"accuracy": right, "latency_ms": own_ms, "cpu_s": cpu_s, "file": str(file)})


class Budget(tune.Stopper):
    """Ends the search when its trials have used their CPU seconds."""

    def __init__(self, cpu_s: float) -> None:
        self.cpu_s = cpu_s
        self.spent: dict[str, float] = {}

    def __call__(self, trial_id: str, result: Config) -> bool:
        self.spent[trial_id] = result.get("cpu_s", 0.0)
        return False

    def stop_all(self) -> bool:
        return sum(self.spent.values()) >= self.cpu_s


class Log(tune.Callback):
    """A line for every finished trial, in the order in which they were finished; too many errors in a row end the search."""

    def __init__(self, file: Path) -> None:
        self.file, self.began, self.spent, self.errors = file, time.time(), 0.0, 0

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.errors += 1
        if self.errors == ERRORS_IN_A_ROW:
            raise RuntimeError(f"{self.errors} trials in a row failed")

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Config, **info: Any) -> None:
        self.errors = 0
        self.spent += result["cpu_s"]
        row = {"params": trial.config, **{k: result[k] for k in ("accuracy", "latency_ms", "cpu_s", "file")}}
        row |= {"spent_cpu_s": self.spent, "wall_s": time.time() - self.began}
        with self.file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row, default=str) + "\n")


def suggest(space: SearchSpace, proposed: Any) -> Config:
    """OptunaSearch's define-by-run function: ``trial.suggest_...`` of every parameter that is active, and the constants."""
    space.suggest(proposed)
    return dict(space.fixed)


def search(task: Config, folder: Path, cpu_s: float, seed: int) -> None:
    """Trials until their CPU seconds are spent."""
    dataset, space = open_dataset(Path(task["dataset"])), load_space(task["space"])
    splits = dataset.splits
    arrays = {
        "train_inputs": np.asarray(dataset.inputs[splits.train]),
        "train_labels": np.asarray(dataset.targets[splits.train]),
        "validation_inputs": np.asarray(dataset.inputs[splits.validation]),
        "validation_labels": np.asarray(dataset.targets[splits.validation]),
        "calibration_inputs": np.asarray(dataset.inputs[splits.calibration]),
    }
    files = folder / "files"
    files.mkdir(parents=True, exist_ok=True)
    # counted here: a trainable whose code reads an attribute ``classes`` cannot be sent to a worker, as cloudpickle takes
    # it for the module torch.classes, which has no pickled form
    task = task | {"files": str(files), "outputs": len(dataset.classes)}
    tuner = tune.Tuner(
        tune.with_parameters(trial, task=task, arrays=arrays),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(
                space=functools.partial(suggest, space),
                metric=["accuracy", "latency_ms"],
                mode=["max", "min"],
                seed=seed,
            ),
            num_samples=-1,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder),
            stop=Budget(cpu_s),
            callbacks=[Log(folder / "trials.jsonl")],
            verbose=1,
        ),
    )
    tuner.fit()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", type=Path, help="JSON: dataset, weights, teacher, space, training")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cpu-s", type=float, default=1560.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpus", type=int, help="trials at a time; default: the cores of this machine")
    options = parser.parse_args()
    ray.init(address="local", num_cpus=options.cpus, include_dashboard=False)
    search(json.loads(options.task.read_text()), options.folder.absolute(), options.cpu_s, options.seed)


if __name__ == "__main__":
    main()
