"""The training loop: that it learns, and that it can be stopped anywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from tests.rv_pipeline_chip_classification.training.training_data import ColoredChips, Killed, Stopped, Task, nothing

from rv_core.errors import TaskError
from rv_pipeline_chip_classification.model.backbones import build_model, seed_everything
from rv_pipeline_chip_classification.model.device import reproducible
from rv_pipeline_chip_classification.model.normalize import Normalization
from rv_pipeline_chip_classification.training.augment import Strengths
from rv_pipeline_chip_classification.training.batches import Batches
from rv_pipeline_chip_classification.training.imbalance import Sampling, adapted_weights
from rv_pipeline_chip_classification.training.scoring import Loss
from rv_pipeline_chip_classification.training.trainer import Recipe, Trainer

#: Whatever an option of the training adds to its state or draws.
EVERYTHING = Recipe(
    num_epochs=3,
    learning_rate=0.02,
    schedule="plateau",
    plateau_patience=1,
    drop_factor=0.5,
    class_weights=(1.0, 2.0, 0.5),
    logit_shift=(0.0, -1.0, 0.5),
    focal_gamma=2.0,
    label_smoothing=0.05,
    clip_grad_norm=0.1,
    select_by="macro_f1",
)
NORMALIZATION = Normalization("stats", (113.0, 113.0), (1 / 24, 1 / 24))
FEW_EPOCHS = Recipe(num_epochs=3, learning_rate=0.003)
IN_BFLOAT16 = Recipe(num_epochs=2, learning_rate=0.003, precision="bfloat16")
IN_FLOAT16 = Recipe(num_epochs=2, learning_rate=0.003, precision="float16", clip_grad_norm=1.0)
WITH_GPU = (pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))


@pytest.fixture(autouse=True)
def single_thread() -> Iterator[None]:
    """Threads that wait for each other would make these tests slow on a busy machine."""
    with reproducible(1):
        yield


def make_trainer(
    recipe: Recipe = FEW_EPOCHS, *, num_chips: int = 36, num_validation: int = 20, seed: int = 0, **options: Any
) -> Trainer:
    seed_everything(seed)
    model = options.pop("model", None) or build_model("small_cnn", 2, 3)
    training = Batches(ColoredChips(num_chips), NORMALIZATION, 8, seed=seed, augment="d4_color", **options)  # type: ignore[arg-type]
    validation = None
    if num_validation:
        validation = Batches(ColoredChips(num_validation, seed=1), NORMALIZATION, 8, is_shuffled=False)  # type: ignore[arg-type]
    return Trainer(model, recipe, training, validation, num_classes=3)


def outcome_of(trainer: Trainer) -> tuple[list[dict[str, Any]], list[bytes]]:
    """The history and the bytes of the resulting weights."""
    return trainer.position.history, [tensor.cpu().numpy().tobytes() for tensor in trainer.use_best().values()]


def test_it_learns_what_can_be_learnt() -> None:
    trainer = make_trainer(Recipe(num_epochs=15, learning_rate=0.01), num_chips=120, num_validation=60)
    trainer.run(Task(), nothing)
    trainer.use_best()
    assert trainer.validation is not None and trainer.score(trainer.validation).accuracy > 0.9
    losses = [entry["train_loss"] for entry in trainer.position.history]
    assert losses[-1] < losses[0]


def test_the_average_soon_forgets_the_weights_of_the_start_and_later_only_a_little_of_the_last_ones() -> None:
    trainer = make_trainer()

    def averaged_after(value: float, num_updates: int) -> float:
        for tensor in trainer.model.parameters():
            tensor.data.fill_(value)
        for _ in range(num_updates):
            trainer.averaged.update_parameters(trainer.model)
        return float(next(trainer.averaged.module.parameters()).detach().mean())

    averaged_after(0.0, 1)
    assert averaged_after(1.0, 6) > 0.98
    averaged_after(1.0, 100)
    assert averaged_after(0.0, 1) == pytest.approx(0.85)


def test_the_result_is_the_epoch_with_the_lowest_validation_loss() -> None:
    trainer = make_trainer(Recipe(num_epochs=6, learning_rate=0.05))
    trainer.run(Task(), nothing)
    losses = [entry["validation_loss"] for entry in trainer.position.history]
    assert trainer.position.best_epoch == 1 + losses.index(min(losses))
    trainer.use_best()
    assert trainer.validation is not None
    assert trainer.score(trainer.validation).loss == pytest.approx(min(losses), rel=1e-6)


def test_without_validation_chips_the_last_epoch_is_the_result() -> None:
    trainer = make_trainer(num_validation=0)
    trainer.run(Task(), nothing)
    assert trainer.position.best_epoch == 0
    assert [entry["validation_loss"] for entry in trainer.position.history] == [None] * 3
    averaged = [tensor.clone() for tensor in trainer.averaged.module.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(trainer.use_best().values(), averaged, strict=True))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    outcomes = []
    for seed in (0, 0, 1):
        trainer = make_trainer(seed=seed)
        trainer.run(Task(), nothing)
        outcomes.append(outcome_of(trainer))
    assert outcomes[0] == outcomes[1] != outcomes[2]


def test_batches_from_more_threads_change_nothing() -> None:
    outcomes = []
    for num_threads in (1, 3):
        trainer = make_trainer(num_threads=num_threads)
        trainer.run(Task(), nothing)
        outcomes.append(outcome_of(trainer))
    assert outcomes[0] == outcomes[1]


def make_trainer_of(recipe: Recipe) -> Trainer:
    """A trainer, with everything that batches can do besides if the recipe has everything that it can."""
    if not recipe.focal_gamma:
        return make_trainer(recipe)
    return make_trainer(recipe, sampling=Sampling("balanced", 11), strengths=Strengths(0.1, 0.1, 0.2, 0.3))


@cache
def uninterrupted(recipe: Recipe) -> tuple[list[dict[str, Any]], list[bytes]]:
    """What a training comes to that nothing disturbs."""
    trainer = make_trainer_of(recipe)
    trainer.run(Task(), nothing)
    return outcome_of(trainer)


# 5 batches of training and 3 of validation an epoch: after the first batch, inside an epoch, after its last batch,
# while validating, at the first batch of the next one, and in the last epoch.
@pytest.mark.parametrize(
    ("recipe", "end", "num_looks"),
    [
        *((FEW_EPOCHS, "stop", num_looks) for num_looks in (0, 2, 4, 5, 6, 8, 9, 17, 22)),
        *((FEW_EPOCHS, "kill", num_looks) for num_looks in (0, 3, 5, 6, 8, 18)),
        *((Recipe(num_epochs=3, optimizer="sgd", freeze_backbone_epochs=1), "stop", num_looks) for num_looks in (2, 9)),
        *((EVERYTHING, "stop", num_looks) for num_looks in (2, 8, 17)),
        (EVERYTHING, "kill", 11),
        *((Recipe(num_epochs=3, adapted_counts=(20, 8, 8)), "stop", num_looks) for num_looks in (7, 10, 18)),
        (IN_BFLOAT16, "stop", 2),
        (IN_BFLOAT16, "kill", 10),
        pytest.param(IN_FLOAT16, "stop", 2, marks=WITH_GPU),
        pytest.param(IN_FLOAT16, "kill", 10, marks=WITH_GPU),
    ],
)
def test_a_run_that_ends_anywhere_goes_on_bit_for_bit(recipe: Recipe, end: str, num_looks: int) -> None:
    every_batch = Recipe(**{**vars(recipe), "checkpoint_every_s": 1e-9})
    first, saved = make_trainer_of(every_batch), list[Any]()
    task = Task(stop_after=num_looks) if end == "stop" else Task(kill_after=num_looks)
    with pytest.raises(Stopped if end == "stop" else Killed):
        first.run(task, lambda: saved.append(_frozen(first)))

    second = make_trainer_of(recipe)
    if saved:
        torch.rand(7)  # whatever the random state is by then
        second.restore(*saved[-1])
    second.run(Task(), nothing)
    assert outcome_of(second) == uninterrupted(recipe)


def _frozen(trainer: Trainer) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The state as a file would hold it."""
    import json

    values, tensors = trainer.state()
    return json.loads(json.dumps(values)), {name: tensor.clone().contiguous() for name, tensor in tensors.items()}


def test_the_best_weights_outlive_a_stop_after_their_epoch() -> None:
    recipe = Recipe(num_epochs=6, learning_rate=0.05, schedule="constant")
    losses = [entry["validation_loss"] for entry in uninterrupted(recipe)[0]]
    best_epoch = 1 + losses.index(min(losses))
    assert best_epoch < 6
    first, second = make_trainer(recipe), make_trainer(recipe)
    with pytest.raises(Stopped):
        first.run(Task(stop_after=8 * best_epoch), nothing)
    second.restore(*_frozen(first))
    second.run(Task(), nothing)
    assert second.position.best_epoch == best_epoch
    assert outcome_of(second) == uninterrupted(recipe)


def test_a_run_that_is_stopped_after_every_second_batch_comes_to_its_end() -> None:
    state, num_starts = None, 0
    while True:
        trainer = make_trainer()
        if state is not None:
            trainer.restore(*state)
        num_starts += 1
        try:
            trainer.run(Task(stop_after=4), nothing)
            break
        except Stopped:
            state = _frozen(trainer)
    assert num_starts > 3
    assert outcome_of(trainer) == uninterrupted(FEW_EPOCHS)


def test_a_checkpoint_is_written_when_it_is_time_and_not_before() -> None:
    saves = []
    trainer = make_trainer()
    trainer.run(Task(), lambda: saves.append(1))
    assert saves == []
    make_trainer(Recipe(num_epochs=1, checkpoint_every_s=1e-9)).run(Task(), lambda: saves.append(1))
    assert len(saves) == 8  # 5 batches of training, 3 of validation


def test_it_stops_early_when_validation_gets_no_better() -> None:
    trainer = make_trainer(Recipe(num_epochs=40, learning_rate=0.05, early_stopping_patience=2))
    trainer.run(Task(), nothing)
    assert trainer.position.epoch < 40
    assert trainer.position.epoch == trainer.position.best_epoch + 2


def test_a_frozen_backbone_stays_until_its_epochs_are_over() -> None:
    trainer = make_trainer(Recipe(num_epochs=2, freeze_backbone_epochs=2))
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.run(Task(), nothing)
    changed = {name for name, t in trainer.model.state_dict().items() if not torch.equal(t, before[name])}
    assert changed == {"fc.weight", "fc.bias"}
    freed = make_trainer(Recipe(num_epochs=2, freeze_backbone_epochs=1))
    freed.run(Task(), nothing)
    assert not torch.equal(freed.model.state_dict()["conv1.weight"], before["conv1.weight"])


def test_a_class_of_weight_zero_is_not_learnt() -> None:
    trainer = make_trainer(Recipe(num_epochs=8, learning_rate=0.01, class_weights=(1.0, 1.0, 0.0)), num_chips=60)
    trainer.run(Task(), nothing)
    assert trainer.validation is not None
    assert trainer.score(trainer.validation).confusion[:, 2].sum() == 0


def test_the_loss_is_weighted_cross_entropy_with_label_smoothing() -> None:
    trainer = make_trainer(Recipe(num_epochs=1, class_weights=(1.0, 2.0, 0.5)))
    batch = next(iter(trainer.training.epoch(0)))
    chips, truth = torch.from_numpy(batch.chips).permute(0, 3, 1, 2), torch.from_numpy(batch.class_ids)
    trainer.model.eval()
    logits, loss = trainer._differentiate(chips, truth, 1)
    expected = torch.nn.functional.cross_entropy(
        logits, truth, weight=torch.tensor([1.0, 2.0, 0.5]), label_smoothing=0.1
    )
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_weights_that_adapt_follow_the_answers_of_the_training_and_leave_validation_alone() -> None:
    counts = (20, 8, 8)
    trainer = make_trainer(Recipe(num_epochs=3, adapted_counts=counts))
    trainer.run(Task(), nothing)
    answers = [entry["train_predicted"] for entry in trainer.position.history]
    assert [sum(answer) for answer in answers] == [36] * 3
    assert trainer.class_weights() == adapted_weights(np.array(counts), answers)
    assert trainer._loss.class_weights is not None
    expected = adapted_weights(np.array(counts), answers[:2])
    assert trainer._loss.class_weights.tolist() == pytest.approx(expected)
    assert trainer._validation_loss.class_weights is None


def test_what_is_sure_counts_less_in_a_focal_loss() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.0, -0.3]])
    truth, weights = torch.tensor([0, 2]), torch.tensor([1.0, 2.0, 0.5])
    chances = torch.softmax(logits, 1)
    sure = chances[[0, 1], truth]
    expected = -(weights[truth] * (1 - sure) ** 2 * sure.log()).sum()
    assert float(Loss(weights, focal_gamma=2.0).training_sum(logits, truth)) == pytest.approx(float(expected))
    for smoothing in (0.0, 0.1):
        plain, nearly = (Loss(weights, smoothing, gamma).training_sum(logits, truth) for gamma in (0.0, 1e-12))
        assert float(nearly) == pytest.approx(float(plain))


def test_logits_are_shifted_while_it_learns_and_validates_and_answers_are_not() -> None:
    logits, truth, shift = torch.tensor([[0.2, 0.0]]), torch.tensor([1]), torch.tensor([0.0, -3.0])
    expected = torch.nn.functional.cross_entropy(logits + shift, truth)
    loss = Loss(logit_shift=shift)
    assert float(loss.training_sum(logits, truth)) == float(loss.validation_sum(logits, truth)) == float(expected)
    trainer = make_trainer(Recipe(num_epochs=1, logit_shift=(0.0, 0.0, -50.0)))
    assert trainer.validation is not None
    shifted, plain = (t.score_with_logits(t.validation)[1] for t in (trainer, make_trainer()) if t.validation)
    assert (shifted == plain).all()


def test_gradients_are_clipped_to_the_norm() -> None:
    norms = []
    for clip in (None, 0.01):
        trainer = make_trainer(Recipe(num_epochs=1, clip_grad_norm=clip))
        trainer.run(Task(), nothing)
        gradients = [p.grad for p in trainer.model.parameters() if p.grad is not None]
        norms.append(float(torch.stack([gradient.norm() for gradient in gradients]).norm()))
    assert norms[0] > 0.011 and norms[1] == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("select_by", ["accuracy", "macro_f1"])
def test_the_result_is_the_first_epoch_that_is_best_by_the_metric_of_choice(select_by: Any) -> None:
    trainer = make_trainer(Recipe(num_epochs=6, learning_rate=0.05, select_by=select_by))
    trainer.run(Task(), nothing)
    scores = [(entry[f"validation_{select_by}"], -entry["validation_loss"]) for entry in trainer.position.history]
    assert trainer.position.best_epoch == 1 + scores.index(max(scores))


def test_rates_drop_after_milestones_and_on_a_plateau() -> None:
    steps = make_trainer(Recipe(num_epochs=4, learning_rate=0.1, schedule="multi_step", milestones=(1, 3)))
    steps.run(Task(), nothing)
    assert [entry["learning_rate"] for entry in steps.position.history] == pytest.approx([0.1, 0.01, 0.01, 0.001])
    recipe = Recipe(num_epochs=6, learning_rate=0.05, schedule="plateau", plateau_patience=1, drop_factor=0.5)
    plateau = make_trainer(recipe)
    plateau.run(Task(), nothing)
    history = plateau.position.history
    losses = [entry["validation_loss"] for entry in history]
    bad = [losses[e] >= min(losses[:e]) for e in range(1, 5)]
    assert any(bad)
    expected = 0.05 * 0.5 ** np.cumsum([0, 0, *bad])
    assert [entry["learning_rate"] for entry in history] == pytest.approx(expected)


@pytest.mark.parametrize("class_weights", [None, (1.0, 3.0, 0.5)])
def test_gradients_are_those_of_the_whole_batch_in_however_many_parts(class_weights: tuple[float, ...] | None) -> None:
    gradients = []
    for num_parts in (1, 3):
        trainer = make_trainer(Recipe(num_epochs=1, class_weights=class_weights))
        trainer.model.eval()  # or each part would be normalised by its own statistics
        batch = next(iter(trainer.training.epoch(0)))
        chips, truth = torch.from_numpy(batch.chips).permute(0, 3, 1, 2), torch.from_numpy(batch.class_ids)
        trainer._differentiate(chips, truth, num_parts)
        gradients.append([p.grad.clone() for p in trainer.model.parameters() if p.grad is not None])
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*gradients, strict=True))


class SmallMemory(torch.nn.Module):
    """A network on a pretended GPU that holds three chips."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = build_model("small_cnn", 2, 3)

    def forward(self, chips: torch.Tensor) -> torch.Tensor:
        if self.training and len(chips) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        logits: torch.Tensor = self.inner(chips)
        return logits


def test_too_little_memory_halves_the_batch_says_so_and_is_remembered(caplog: pytest.LogCaptureFixture) -> None:
    trainer = make_trainer(Recipe(num_epochs=1), model=SmallMemory())
    trainer.run(Task(), nothing)
    assert "going on with 4 at a time" in caplog.text and "going on with 2 at a time" in caplog.text
    assert trainer.state()[0]["num_parts"] == 4
    assert caplog.text.count("going on") == 2


def test_a_loss_that_is_no_number_ends_the_training_with_what_to_do() -> None:
    trainer = make_trainer(Recipe(num_epochs=5, learning_rate=1e18, schedule="constant", optimizer="sgd"))
    with pytest.raises(TaskError, match="diverged") as caught:
        trainer.run(Task(), nothing)
    assert "learning_rate" in caught.value.block.fix


def test_bfloat16_trains_on_a_cpu() -> None:
    trainer = make_trainer(Recipe(num_epochs=1, precision="bfloat16"))
    trainer.run(Task(), nothing)
    assert math.isfinite(trainer.position.history[0]["train_loss"])
    assert all(p.dtype == torch.float32 for p in trainer.model.parameters())


def test_the_scale_of_the_loss_goes_into_the_checkpoint() -> None:
    recipe = Recipe(num_epochs=2, clip_grad_norm=0.5)

    def scaled() -> Trainer:
        trainer = make_trainer(recipe)  # of float16 on a GPU it is made so; here the same class scales float32
        trainer._scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120, growth_interval=3)
        return trainer

    whole = scaled()
    whole.run(Task(), nothing)
    first, saved = scaled(), list[Any]()
    first.recipe = Recipe(**{**vars(recipe), "checkpoint_every_s": 1e-9})
    with pytest.raises(Killed):
        first.run(Task(kill_after=6), lambda: saved.append(_frozen(first)))
    assert saved[-1][0]["scaler"]["scale"] != 2.0**120
    second = scaled()
    second.restore(*saved[-1])
    second.run(Task(), nothing)
    assert second.state()[0]["scaler"] == whole.state()[0]["scaler"]
    assert outcome_of(second) == outcome_of(whole)


def test_progress_counts_steps_and_tells_loss_and_validation() -> None:
    task = Task()
    trainer = make_trainer()
    trainer._pace.is_due = lambda: True  # type: ignore[method-assign]
    trainer.run(task, nothing)
    done, total, numbers = task.reports[-1]
    assert (done, total) == (15, 15)
    assert {"epoch", "loss", "chips_per_s", "validation_loss", "validation_accuracy"} <= set(numbers)
    # One report a step, and one at the end of each epoch of 5 steps, with the validation of that epoch.
    assert [report[0] for report in task.reports] == [
        n for step in range(1, 16) for n in [step] * (1 + (step % 5 == 0))
    ]
    for _, _, told in task.reports:
        if "validated_epoch" in told:
            entry = trainer.position.history[int(told["validated_epoch"]) - 1]
            assert told["validation_loss"] == entry["validation_loss"]
    assert [r[2]["validated_epoch"] - r[2]["epoch"] for r in task.reports if "validated_epoch" in r[2]][-1] == 0


def test_logits_come_in_the_order_of_the_chips() -> None:
    trainer = make_trainer(num_validation=20)
    assert trainer.validation is not None
    scores, logits = trainer.score_with_logits(trainer.validation)
    hits = logits.argmax(1) == trainer.validation.source.class_ids
    assert logits.shape == (20, 3) and logits.dtype == np.float32
    assert scores.accuracy == pytest.approx(hits.mean())
