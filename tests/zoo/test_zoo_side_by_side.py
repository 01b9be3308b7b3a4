"""Models that are trained together take the steps that each takes alone."""

import shutil

import pytest
import torch
from transformers import AutoModelForImageTextToText

from evalkit.zoo import resolve
from tools.zoo_training import language, start, tower, train
from tools.zoo_training.answers import EXACT, Precision
from tools.zoo_training.side_by_side import SideBySide, train_side_by_side

torch.set_num_threads(1)

MODELS = [("vanilla", 0), ("mhrope", 1), ("mrope-i(frequency=ilrope)", 1)]
READING = 2


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """A folder with a short start."""
    folder = tmp_path_factory.mktemp("training")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(language, "STEPS", 4)
        patch.setattr(start, "STEPS", 2)
        patch.setattr(tower, "STEPS", 20)
        new_trainer("vanilla", 0, folder)
        for module in ("train", "side_by_side"):
            patch.setattr(f"tools.zoo_training.{module}.READING_STEPS", READING)
        yield folder


def new_trainer(variant, seed, folder):
    return train.Trainer(variant, seed, 40, folder, EXACT)


@torch.no_grad()
def blur(model, seed=0, share=0.12):
    """Add noise to weights, of this share of each one's size."""
    draw = torch.Generator().manual_seed(seed)
    for each in model.parameters():
        each += share * each.std() * torch.randn(each.shape, generator=draw)


def trained_parameters(trainer):
    return {name: each for name, each in trainer.model.named_parameters() if each.requires_grad}


def test_steps_losses_and_states_are_those_of_each_alone(folder):
    alone = [new_trainer(variant, seed, folder) for variant, seed in MODELS]
    expected = [[each.train_step() for _ in range(READING + 2)] for each in alone]
    together = SideBySide([new_trainer(variant, seed, folder) for variant, seed in MODELS], "cpu")
    batches = together._batches(READING + 2, workers=1)
    losses = torch.stack([together.train_step(batch, EXACT) for batch in batches], 1)
    torch.testing.assert_close(losses, torch.tensor(expected), atol=2e-4, rtol=1e-4)
    together.unstack()
    for one, other in zip(alone, together.trainers, strict=True):
        assert other.step == one.step == READING + 2
        ours, theirs = trained_parameters(other), trained_parameters(one)
        assert ours.keys() == theirs.keys()
        for name, each in ours.items():
            # Muon iterates in bfloat16: what was summed in another order moves a weight by a little.
            torch.testing.assert_close(each, theirs[name], atol=2e-4, rtol=0, msg=f"{one.name}: {name}")
        state, wanted = other.optimizer.state_dict(), one.optimizer.state_dict()
        for mine, its in zip(state["muon"], wanted["muon"], strict=True):
            torch.testing.assert_close(mine, its, atol=2e-4, rtol=1e-2)


def test_held_out_answers_are_those_of_each_alone(folder, monkeypatch):
    monkeypatch.setattr("tools.zoo_training.held_out.SCENES_PER_TASK", 7)
    trainers = [new_trainer(variant, 0, folder) for variant in ("vanilla", "mrope", "mhrope")]
    for each in trainers:
        shipped = AutoModelForImageTextToText.from_pretrained(resolve("tiny", each.variant), dtype="float32")
        each.model.load_state_dict(shipped.state_dict())
        blur(each.model.model.language_model)  # as they are, all answer alike: right
        each.patches = tower.feature_table(each.model.model.visual, train.START_SEED)
    together = SideBySide(trainers, "cpu")
    together.evaluate()
    answers = [each.held_out[0] for each in trainers]
    assert answers == [each.evaluate() for each in trainers]
    assert answers[0] != answers[1] != answers[2]
    assert all(sum(each.values()) > 50 * len(each) for each in answers)


def test_what_was_trained_alone_goes_on_side_by_side_and_alone_again(folder, tmp_path):
    straight = new_trainer("mhrope", 1, folder)
    straight.run(stop=3)
    shutil.copy(folder / "start.pt", tmp_path)
    begun = new_trainer("mhrope", 1, tmp_path)  # the other one begins afresh, and apart
    begun.run(stop=1)
    begun.save_state()
    trainers = [new_trainer(variant, seed, tmp_path) for variant, seed in MODELS[:2]]
    folders = train_side_by_side(trainers, tmp_path / "out", "cpu", 0, stop=2)
    assert [(each.parent.name, each.name) for each in folders] == [
        ("seed-0", "tiny-vanilla"),
        ("seed-1", "tiny-mhrope"),
    ]
    fresh, resumed = new_trainer("vanilla", 0, tmp_path), new_trainer("mhrope", 1, tmp_path)
    fresh.resume()
    resumed.resume()
    assert fresh.step == resumed.step == 2
    resumed.run(stop=3)
    for name, each in trained_parameters(resumed).items():
        torch.testing.assert_close(each, trained_parameters(straight)[name], atol=2e-4, rtol=0, msg=name)


def test_models_at_different_steps_take_none_together(folder):
    ahead = new_trainer("vanilla", 0, folder)
    ahead.step = 1
    with pytest.raises(ValueError, match="at different steps"):
        SideBySide([ahead, new_trainer("mhrope", 0, folder)], "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", [EXACT, Precision()], ids=["exact", "compiled"])
def test_a_gpu_takes_the_steps_of_the_processor(folder, precision):
    steps = []
    for device in ("cpu", "cuda"):
        together = SideBySide([new_trainer(variant, seed, folder) for variant, seed in MODELS], device)
        used = precision if device == "cuda" else EXACT
        taken = [together.train_step(batch.to(device), used) for batch in together._batches(6, workers=0)]
        steps.append(torch.stack(taken).cpu())
    torch.testing.assert_close(*steps, atol=2e-3 if precision is EXACT else 0.1, rtol=1e-3)
