"""The command `train`: from chips to a model, its description and its metrics.

Outputs: `train/model.safetensors` (weights), `train/model.json` (the `ModelContract`), `train/metrics.json`,
`train/history.jsonl` (one line per epoch), `train/history.csv` (the same as a table) and `train/linear-probe.json` (a
linear model to compare with). The checkpoint beside them is removed at the end.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rv_core import Storage
from rv_core.files.by_uri import local_copy
from rv_pipeline_chip_classification.chips.store import ChipStore
from rv_pipeline_chip_classification.commands.baselines import METRICS, PROBE, compare_training, fit_baselines
from rv_pipeline_chip_classification.commands.history_table import history_csv
from rv_pipeline_chip_classification.commands.training_data import TrainingData, open_training_data
from rv_pipeline_chip_classification.config import ChipClassificationConfig, TrainConfig
from rv_pipeline_chip_classification.control import Control
from rv_pipeline_chip_classification.model.backbones import build_model, check_forward, seed_everything
from rv_pipeline_chip_classification.model.device import num_threads, reproducible
from rv_pipeline_chip_classification.model.normalize import Normalization
from rv_pipeline_chip_classification.model.trained import CONTRACT, WEIGHTS
from rv_pipeline_chip_classification.model.weights import LoadedWeights, initialise_from, read_weights, save_weights
from rv_pipeline_chip_classification.pretrained.start import initialise
from rv_pipeline_chip_classification.training.augment import Strengths
from rv_pipeline_chip_classification.training.batches import Batches
from rv_pipeline_chip_classification.training.calibration import (
    Calibration,
    choose_temperature,
    fit_temperature,
    folds_of,
)
from rv_pipeline_chip_classification.training.checkpoint import (
    Checkpoint,
    delete_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from rv_pipeline_chip_classification.training.imbalance import Sampling, class_weights_of, logit_shift
from rv_pipeline_chip_classification.training.position import diverged
from rv_pipeline_chip_classification.training.scoring import Scores
from rv_pipeline_chip_classification.training.trainer import Recipe, Trainer

HISTORY, HISTORY_TABLE = "train/history.jsonl", "train/history.csv"

_log = logging.getLogger(__name__)


def run_train(config: ChipClassificationConfig, storage: Storage, control: Control) -> None:
    """Train a model from the chips under the root and write what the module's text names.

    A run that was killed or stopped goes on from its checkpoint; on a CPU, with the same number of threads, its
    outputs are byte for byte those of an uninterrupted run.

    Raises:
        DataError: if there are no chips to learn from, or weights or statistics do not fit.
        TaskError: if the training diverges.
    """
    data = open_training_data(config, storage)
    with reproducible(num_threads(config.train.num_threads)):
        trainer = _resumed_trainer(config, data, storage, control.key)
        print(_what_is_shown(config.train, data, trainer))
        trainer.run(control, lambda: _save(trainer, storage, control.key))
        _write_outputs(trainer, data, storage, config.train)
    delete_checkpoint(storage)
    control.record(
        num_train_chips=data.train.num_chips,
        num_validation_chips=data.validation.num_chips,
        num_epochs=trainer.position.epoch,
        best_epoch=trainer.position.best_epoch,
    )


def _make_trainer(config: ChipClassificationConfig, data: TrainingData) -> Trainer:
    train, contract = config.train, data.contract
    seed_everything(config.seed)
    model = build_model(contract.backbone, contract.num_channels, contract.num_classes, context_px=contract.context_px)
    check_forward(model, contract.num_channels, contract.num_classes, contract.chip_width_px)
    if data.initial is not None:
        _tell(initialise(model, data.initial), data.initial.card.file, data.initial.match.notes)
    elif config.model.init_weights is not None:
        uri = config.model.init_weights
        _tell(initialise_from(model, read_weights(local_copy(uri), shown=uri), shown=uri), uri)
    make = _batch_maker(train, contract.normalization, config.seed)
    validation = make(data.validation, is_shuffled=False) if data.validation.num_chips else None
    training = make(data.train, augment=train.augment, strengths=_strengths_of(train), sampling=sampling_of(train))
    counts = training.sampling.epoch_counts(data.train.class_counts(contract.num_classes))
    recipe = recipe_of(train, config.model.freeze_backbone_epochs, counts)
    return Trainer(model, recipe, training, validation, num_classes=contract.num_classes)


def _batch_maker(train: TrainConfig, normalization: Normalization, seed: int) -> Callable[..., Batches]:
    def make(store: ChipStore, **options: Any) -> Batches:
        threads = max(1, train.num_workers)
        return Batches(store, normalization, train.batch_size, seed=seed, num_threads=threads, **options)

    return make


def recipe_of(train: TrainConfig, freeze_backbone_epochs: int, class_counts: NDArray[np.int64]) -> Recipe:
    """How to train, from the config and the number of chips per class.

    Args:
        train: the config.
        freeze_backbone_epochs: from the config of the model.
        class_counts: (K,) chips per class that an epoch shows.
    """
    return Recipe(
        num_epochs=train.num_epochs,
        learning_rate=train.learning_rate,
        optimizer=train.optimizer,
        schedule=train.schedule,
        weight_decay=train.weight_decay,
        freeze_backbone_epochs=freeze_backbone_epochs,
        early_stopping_patience=train.early_stopping_patience,
        precision=train.precision,
        checkpoint_every_s=train.checkpoint_every_s,
        class_weights=class_weights_of(train.class_weights, class_counts, max_ratio=train.max_weight_ratio),
        logit_shift=logit_shift(train.logit_adjustment, class_counts),
        adapted_counts=tuple(class_counts.tolist()) if train.class_weights == "adaptive" else None,
        max_weight_ratio=train.max_weight_ratio,
        label_smoothing=train.label_smoothing,
        focal_gamma=train.focal_gamma,
        clip_grad_norm=train.clip_grad_norm,
        milestones=tuple(train.milestones),
        plateau_patience=train.plateau_patience,
        drop_factor=train.drop_factor,
        select_by=train.select_by,
    )


def sampling_of(train: TrainConfig) -> Sampling:
    """Which chips an epoch shows, from the config."""
    return Sampling(train.sampler, train.max_chips_per_class)


def _strengths_of(train: TrainConfig) -> Strengths:
    return Strengths(train.augment_brightness, train.augment_contrast, train.augment_noise, train.augment_zoom)


def _tell(loaded: LoadedWeights, uri: str, more: Sequence[str] = ()) -> None:
    notes = [f"{name} was fitted to the number of channels" for name in loaded.adapted]
    notes += [f"{name} was left out" for name in loaded.left_out]
    print(f"initial weights from {uri}" + "".join(f"; {note}" for note in [*more, *notes]))


def _what_is_shown(train: TrainConfig, data: TrainingData, trainer: Trainer) -> str:
    """One line about the classes: the training chips, those that an epoch shows, and what they weigh in the loss."""
    names, weights = data.contract.class_names, trainer.recipe.class_weights
    counts = data.train.class_counts(len(names)).tolist()
    parts = [f"{name} {count}" for name, count in zip(names, counts, strict=True)]
    shown = sampling_of(train).epoch_counts(np.asarray(counts)).tolist()
    if shown != counts:
        parts = [f"{part} (an epoch shows {number})" for part, number in zip(parts, shown, strict=True)]
    if weights is not None:
        parts = [f"{part}, weight {weight:.3g}" for part, weight in zip(parts, weights, strict=True)]
    return f"training chips: {'; '.join(parts)}"


def _why_this_epoch(metrics: Mapping[str, Any]) -> str:
    """One line about which epoch is the result."""
    chosen, by = f"epoch {metrics['best_epoch']} of {metrics['num_epochs']} is the result", metrics["chosen_by"]
    if metrics["best_score"] is None:
        return f"{chosen}: it is the last one, and there are no validation chips to choose by"
    return f"{chosen}: its {by} is the best, {metrics['best_score']:.4g} on {metrics['num_validation_chips']} chips"


def _save(trainer: Trainer, storage: Storage, key: str) -> None:
    values, tensors = trainer.state()
    write_checkpoint(storage, Checkpoint(key, values, tensors))


def _resumed_trainer(config: ChipClassificationConfig, data: TrainingData, storage: Storage, key: str) -> Trainer:
    """A trainer that goes on from the checkpoint, or one at the beginning where there is none that can be used."""
    trainer = _make_trainer(config, data)
    answer = read_checkpoint(storage, key)
    refused_because = answer.refused_because
    if answer.checkpoint is not None:
        try:
            trainer.restore(answer.checkpoint.values, answer.checkpoint.tensors)
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as err:
            refused_because = f"it is not of such a training ({type(err).__name__}: {str(err)[:200]})"
            trainer = _make_trainer(config, data)
        else:
            print(f"going on in epoch {trainer.position.epoch + 1}, after batch {trainer.position.batch}")
    if refused_because:
        _log.warning("the checkpoint is not used: %s; training starts at the beginning", refused_because)
    return trainer


def _calibration_of(logits: NDArray[np.float32], chips: ChipStore, method: str) -> Calibration:
    if method == "none":
        return Calibration(1.0, "scores stay as they are: train.calibrate is none")
    if method == "temperature":
        why = "it is fitted to the validation chips, and not measured on others: train.calibrate is temperature"
        return Calibration(fit_temperature(logits, chips.class_ids), why)
    return choose_temperature(logits, chips.class_ids, *folds_of(chips.scene_indices, chips.windows))


def _write_outputs(trainer: Trainer, data: TrainingData, storage: Storage, train: TrainConfig) -> None:
    weights = trainer.use_best()
    validation, contract, calibration = None, data.contract, None
    if trainer.validation is not None:
        validation, logits = trainer.score_with_logits(trainer.validation)
        calibration = _calibration_of(logits, data.validation, train.calibrate)
        contract = replace(contract, temperature=calibration.temperature)
        print(calibration.why)
    metrics = _metrics_of(trainer, data, validation)
    metrics["calibration"] = None if calibration is None else calibration.to_json()
    baselines = fit_baselines(data.train, contract.num_classes, contract.chip_size_px)
    names, on_validation = list(contract.class_names), metrics["validation"]
    metrics |= compare_training(baselines, data.validation, on_validation, names, contract.chip_size_px)
    for warning in metrics["warnings"]:
        _log.warning("%s", warning)
    print(_why_this_epoch(metrics))
    with storage.output_file(WEIGHTS) as path:
        save_weights(weights, path)
    storage.write_text(CONTRACT, json.dumps(contract.to_json(), indent=1) + "\n")
    if baselines.probe is not None:
        storage.write_text(PROBE, json.dumps(baselines.probe.to_json()) + "\n")
    storage.write_text(METRICS, json.dumps(metrics, indent=1) + "\n")
    storage.write_text(HISTORY, "".join(json.dumps(entry) + "\n" for entry in trainer.position.history))
    storage.write_text(HISTORY_TABLE, history_csv(trainer.position.history, names))


def _metrics_of(trainer: Trainer, data: TrainingData, validation: Scores | None) -> dict[str, Any]:
    names, position, recipe = data.contract.class_names, trainer.position, trainer.recipe
    sampling = trainer.training.sampling
    counts = data.train.class_counts(len(names))
    plain = Batches(data.train, data.contract.normalization, trainer.training.batch_size, is_shuffled=False)
    training = trainer.score(plain)
    if not math.isfinite(training.loss):
        # The last step may do it, after the last loss was looked at.
        raise diverged(f"the loss of its result on the training chips is {training.loss}")
    weights, chosen_by = trainer.class_weights(), f"validation_{recipe.select_by}"
    return {
        "num_epochs": position.epoch,
        "stopped_early": position.epoch < recipe.num_epochs,
        "best_epoch": position.best_epoch or position.epoch,
        "chosen_by": chosen_by if position.best_epoch else "last epoch",
        "best_score": position.history[position.best_epoch - 1][chosen_by] if position.best_epoch else None,
        "sampler": sampling.sampler,
        "class_counts": dict(zip(names, counts.tolist(), strict=True)),
        "epoch_counts": dict(zip(names, sampling.epoch_counts(counts).tolist(), strict=True)),
        "class_weights": None if weights is None else dict(zip(names, weights, strict=True)),
        "num_train_chips": data.train.num_chips,
        "num_validation_chips": data.validation.num_chips,
        "train": training.to_json(names),
        "validation": None if validation is None else validation.to_json(names),
    }
