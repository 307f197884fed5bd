"""The training loop. All that it depends on is in its state, so that it can stop after any step and go on.

**Which weights are the result.** While the network learns, an exponential average of its weights over about the last
50 steps is kept, which generalises better and varies less from seed to seed than the last step's (Izmailov et al.
2018, https://arxiv.org/abs/1803.05407). After each epoch this averaged network is validated, and that of the epoch
that is best by the metric of choice is the result, the first of equals. Without validation chips it is that of the last
epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from rv_pipeline_chip_classification.config_parts import Precision
from rv_pipeline_chip_classification.control import Control
from rv_pipeline_chip_classification.model.backbones import set_backbone_frozen
from rv_pipeline_chip_classification.model.device import (
    MemoryLimit,
    autocast,
    best_device,
    compute_dtype,
    to_device,
)
from rv_pipeline_chip_classification.training.batches import SMALLEST_BATCH, Batches, LabelledBatch
from rv_pipeline_chip_classification.training.imbalance import adapted_weights
from rv_pipeline_chip_classification.training.optimizers import (
    OptimizerName,
    make_optimizer,
    pack_optimizer,
    random_states,
    set_random_states,
    unpack_optimizer,
)
from rv_pipeline_chip_classification.training.position import (
    Position,
    SelectBy,
    check_finite,
    check_same_shapes,
    diverged,
    position_of,
    scores_to_watch,
)
from rv_pipeline_chip_classification.training.schedule import Schedule, learning_rate_at, plateaus_passed
from rv_pipeline_chip_classification.training.scoring import Loss, Scores, Tally
from rv_pipeline_chip_classification.training.watch import Pace, Watch

#: The average takes in the weights every so many steps, at a cost that cannot be measured, and forgets at this rate.
AVERAGE_EVERY_STEPS, AVERAGE_DECAY = 8, 0.85
#: While it has taken in few weights it forgets faster: else those of the start weigh most in a short training.
_WARM_UP_UPDATES = 10


@dataclass(frozen=True)
class Recipe:
    """How to train; names and values are those of the config.

    Args:
        class_weights: of the loss, one per class, or None.
        logit_shift: added to the logits while the network learns, one per class, or None.
        adapted_counts: chips of each class that an epoch shows, where the training's weights follow the answers.
    """

    num_epochs: int
    learning_rate: float = 1e-3
    optimizer: OptimizerName = "adamw"
    schedule: Schedule = "one_cycle"
    weight_decay: float = 1e-2
    freeze_backbone_epochs: int = 0
    early_stopping_patience: int | None = None
    precision: Precision = "auto"
    checkpoint_every_s: float = 300.0
    class_weights: tuple[float, ...] | None = None
    logit_shift: tuple[float, ...] | None = None
    adapted_counts: tuple[int, ...] | None = None
    max_weight_ratio: float = 100.0
    label_smoothing: float = 0.1
    focal_gamma: float = 0.0
    clip_grad_norm: float | None = None
    milestones: tuple[int, ...] = ()
    plateau_patience: int = 3
    drop_factor: float = 0.1
    select_by: SelectBy = "loss"


class Trainer:
    """A network that is being trained.

    Args:
        model: the network; it is moved to the GPU, if there is one.
        recipe: how to train it.
        training: the batches to learn from.
        validation: the batches to choose the best epoch by, or None.
        num_classes: K.
    """

    def __init__(
        self, model: nn.Module, recipe: Recipe, training: Batches, validation: Batches | None, *, num_classes: int
    ) -> None:
        self.recipe, self.training, self.validation = recipe, training, validation
        self.num_classes = num_classes
        self.device = best_device()
        # Batches come channels last, which convolutions are faster with on both kinds of device.
        self.model = model = model.to(self.device, memory_format=torch.channels_last)
        self.optimizer = make_optimizer(model, recipe.optimizer, recipe.learning_rate, recipe.weight_decay)
        self.averaged = AveragedModel(model, multi_avg_fn=_average, use_buffers=True).eval()
        self.best: dict[str, Tensor] = {}
        self.position = Position()
        self._dtype = compute_dtype(recipe.precision, self.device, where="train.precision")
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=self._dtype == torch.float16)
        self._loss = self._validation_loss = self._make_loss(recipe.class_weights)
        self._num_drops = 0
        self._memory = MemoryLimit()
        self._pace = Pace()
        self._tally = Tally(num_classes, self.device)

    def _make_loss(self, class_weights: tuple[float, ...] | None) -> Loss:
        recipe = self.recipe
        weights, shift = (
            None if values is None else torch.tensor(values, device=self.device)
            for values in (class_weights, recipe.logit_shift)
        )
        return Loss(weights, recipe.label_smoothing, recipe.focal_gamma, shift)

    def class_weights(self) -> tuple[float, ...] | None:
        """Of the loss of the epoch in hand; they depend on the history alone."""
        recipe = self.recipe
        if recipe.adapted_counts is None:
            return recipe.class_weights
        answers = [entry["train_predicted"] for entry in self.position.history]
        return adapted_weights(np.asarray(recipe.adapted_counts), answers, max_ratio=recipe.max_weight_ratio)

    @property
    def num_steps(self) -> int:
        """Steps of the whole training."""
        return self.recipe.num_epochs * self.training.num_batches

    @property
    def step(self) -> int:
        """Steps done."""
        return self.position.epoch * self.training.num_batches + self.position.batch

    def run(self, control: Control, save: Callable[[], None]) -> None:
        """Train to the end, from wherever it stands.

        Args:
            control: the task.
            save: writes a checkpoint; called every `checkpoint_every_s`, and before the task ends on request.

        Raises:
            TaskError: if the loss is no longer a number.
        """
        watch = Watch(control, save, self.recipe.checkpoint_every_s)
        while self.position.epoch < self.recipe.num_epochs and not self._has_stalled():
            self._learn_epoch(control, watch)
            self._end_epoch(watch)
            print(self.position.epoch_text(self.recipe.num_epochs))
            self._report(control, self.position.history[-1]["train_loss"], epoch=self.position.epoch)

    def _has_stalled(self) -> bool:
        patience, position = self.recipe.early_stopping_patience, self.position
        return patience is not None and bool(position.best_epoch) and position.epoch - position.best_epoch >= patience

    def _learn_epoch(self, control: Control, watch: Watch) -> None:
        self.model.train()
        set_backbone_frozen(self.model, self.position.epoch < self.recipe.freeze_backbone_epochs)
        self._num_drops = self._drops_so_far()
        self._loss = self._make_loss(self.class_weights())
        self._pace.start_epoch()
        for batch in self.training.epoch(self.position.epoch, first=self.position.batch):
            loss = self._learn(batch)
            self.position.batch += 1
            if self.position.batch == self.training.num_batches or self.step % AVERAGE_EVERY_STEPS == 0:
                self.averaged.update_parameters(self.model)
            self._pace.count(len(batch.class_ids))
            if self._pace.is_due():
                self._report(control, loss, epoch=self.position.epoch + 1)
            watch.look()

    def _report(self, control: Control, loss: Tensor | float, *, epoch: int) -> None:
        """Tell how far it is. Within an epoch the last validation is that of the one before: `validated_epoch`."""
        last = self.position.history[-1] if self.position.history else {}
        names = ("validation_macro_f1", "validation_accuracy", "validation_loss")
        validated = {name: last[name] for name in names if last.get(name) is not None}
        # The first are seen on any terminal.
        numbers = {"epoch": epoch, "num_epochs": self.recipe.num_epochs, **validated, "loss": float(loss)}
        if validated:
            numbers["validated_epoch"] = last["epoch"]
        control.progress(self.step, self.num_steps, **numbers, chips_per_s=self._pace.chips_per_s)

    def _rate_of(self, step: int) -> float:
        """The learning rate of a step; not read from the optimiser, which a checkpoint between two steps restores."""
        recipe = self.recipe
        rate = learning_rate_at(step, num_steps=self.num_steps, peak=recipe.learning_rate, schedule=recipe.schedule)
        return rate * recipe.drop_factor**self._num_drops

    def _drops_so_far(self) -> int:
        """How many times `multi_step` or `plateau` have lowered the rate, as the history tells."""
        recipe, position = self.recipe, self.position
        if recipe.schedule == "plateau":
            return plateaus_passed(scores_to_watch(position.history, recipe.select_by), recipe.plateau_patience)
        return sum(milestone <= position.epoch for milestone in recipe.milestones)

    def _learn(self, batch: LabelledBatch) -> Tensor:
        """One step of the optimiser; the mean loss of the batch."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate_of(self.step)
        chips = to_device(batch.chips, self.device)
        truth = torch.from_numpy(batch.class_ids).to(self.device)
        logits, loss = self._memory.fit(
            lambda parts: self._differentiate(chips, truth, parts), len(truth), smallest_part=SMALLEST_BATCH
        )
        if self.recipe.clip_grad_norm is not None:
            self._scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_grad_norm)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        self._tally.add(loss * len(truth), logits, truth)
        return loss

    def _differentiate(self, chips: Tensor, truth: Tensor, num_parts: int) -> tuple[Tensor, Tensor]:
        """Logits and mean loss of a batch. Gradients are those of the whole batch, in however many parts."""
        self.optimizer.zero_grad(set_to_none=True)
        total = self._loss.total_weight(truth)
        logits, losses = [], []
        for part, part_truth in zip(chips.tensor_split(num_parts), truth.tensor_split(num_parts), strict=True):
            with autocast(self._dtype, self.device):
                part_logits = self.model(part)
            loss = self._loss.training_sum(part_logits.float(), part_truth) / total
            self._scaler.scale(loss).backward()
            logits.append(part_logits.detach())
            losses.append(loss.detach())
        return torch.cat(logits), torch.stack(losses).sum()

    def _end_epoch(self, watch: Watch) -> None:
        """Validate and move on to the next epoch. Nothing is changed before the last line that can be interrupted."""
        learnt, position = self._tally.scores(), self.position
        if not math.isfinite(learnt.loss):
            raise diverged(f"the loss of epoch {position.epoch + 1} is {learnt.loss}")
        validated = self.score(self.validation, watch) if self.validation is not None else None
        position.history.append(self._entry(learnt, validated))
        if validated is not None and position.history[-1]["is_best"]:
            position.best_epoch = position.epoch + 1
            self.best = {name: tensor.clone() for name, tensor in self.averaged.module.state_dict().items()}
        position.epoch, position.batch = position.epoch + 1, 0
        self._tally.clear()

    def _entry(self, learnt: Scores, validated: Scores | None) -> dict[str, Any]:
        """The line of the history of the epoch in hand."""
        position = self.position
        macro_f1 = None if validated is None else validated.to_json([""] * self.num_classes)["macro"]["f1"]
        entry = {
            "epoch": position.epoch + 1,
            "learning_rate": self._rate_of(self.step - 1),
            "train_loss": learnt.loss,
            "train_accuracy": learnt.accuracy,
            "validation_loss": None if validated is None else validated.loss,
            "validation_accuracy": None if validated is None else validated.accuracy,
            "validation_macro_f1": macro_f1,
        }
        if self.recipe.adapted_counts is not None:
            entry["train_predicted"] = learnt.confusion.sum(axis=0).tolist()
        return entry | {"is_best": position.is_beaten_by(entry, self.recipe.select_by)}

    def score(self, batches: Batches, watch: Watch | None = None) -> Scores:
        """Loss and confusion matrix of the averaged network over some batches, in their order.

        Args:
            batches: their first epoch is gone through.
            watch: looks between batches whether the task must end.
        """
        return self._score(batches, watch, None)

    def score_with_logits(self, batches: Batches) -> tuple[Scores, NDArray[np.float32]]:
        """As `score`, and the logits of all chips: (N, K) float32."""
        logits: list[Tensor] = []
        scores = self._score(batches, None, logits)
        return scores, torch.cat(logits).cpu().numpy()

    def _score(self, batches: Batches, watch: Watch | None, all_logits: list[Tensor] | None) -> Scores:
        tally = Tally(self.num_classes, self.device)
        for batch in batches.epoch(0):
            truth = torch.from_numpy(batch.class_ids).to(self.device)
            with torch.inference_mode(), autocast(self._dtype, self.device):
                logits = self.averaged.module(to_device(batch.chips, self.device)).float()
                loss = self._validation_loss.validation_sum(logits, truth)
            tally.add(loss, logits, truth)
            if all_logits is not None:
                all_logits.append(logits)
            if watch is not None:
                watch.look()
        return tally.scores()

    def use_best(self) -> dict[str, Tensor]:
        """Put the weights that are the result into the averaged network, and return them."""
        if self.best:
            self.averaged.module.load_state_dict(self.best)
        return self.averaged.module.state_dict()

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """All that the rest of the training depends on: plain values, and tensors by name."""
        self.position.num_parts = self._memory.num_parts
        groups: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.state_dict(),
            "optimizer": pack_optimizer(self.optimizer),
            "averaged": self.averaged.state_dict(),
            "best": self.best,
            "tally": self._tally.tensors(),
            "rng": random_states(self.device),
        }
        tensors = {f"{group}.{name}": tensor for group, named in groups.items() for name, tensor in named.items()}
        return {**asdict(self.position), "scaler": self._scaler.state_dict()}, tensors

    def restore(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: if it is not the state of such a training.
        """
        groups: dict[str, dict[str, Tensor]] = {}
        for full_name, tensor in tensors.items():
            group, _, name = full_name.partition(".")
            groups.setdefault(group, {})[name] = tensor
        self.position = position_of(values, self.recipe.num_epochs, self.training.num_batches)
        check_finite(groups["model"], groups["averaged"], groups.get("best", {}))
        self.model.load_state_dict(groups["model"])
        unpack_optimizer(self.optimizer, groups.get("optimizer", {}))
        self.averaged.load_state_dict(groups["averaged"])
        best = {name: tensor.to(self.device) for name, tensor in groups.get("best", {}).items()}
        if self.position.best_epoch or best:
            check_same_shapes(best, self.averaged.module.state_dict())
        self.best = best
        self._tally.restore(groups["tally"])
        self._scaler.load_state_dict(values["scaler"])
        self._memory.num_parts = self.position.num_parts
        set_random_states(groups["rng"], self.device)


def _average(averaged: Any, current: Any, num_averaged: Tensor) -> None:
    """Move averaged tensors towards the current ones; `num_averaged` tells how many times that was done before."""
    decay = (1 + int(num_averaged)) / (_WARM_UP_UPDATES + int(num_averaged))
    get_ema_multi_avg_fn(min(AVERAGE_DECAY, decay))(averaged, current, num_averaged)
