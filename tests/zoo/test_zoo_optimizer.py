"""The zoo's optimizer takes the steps of torch's own."""

import copy

import pytest
import torch

from tools.zoo_training.optimizer import PEAK_RATE, WEIGHT_DECAY, Muon, Optimizer, orthogonalized, rate

torch.set_num_threads(1)


def test_muon_takes_the_steps_of_torch():
    draw = torch.Generator().manual_seed(0)
    shapes = [(16, 16), (48, 16), (16, 48), (16, 16), (48, 16)]
    ours = [torch.nn.Parameter(torch.randn(shape, generator=draw)) for shape in shapes]
    theirs = [torch.nn.Parameter(each.detach().clone()) for each in ours]
    mine = Muon(ours)
    torchs = torch.optim.Muon(
        theirs, lr=PEAK_RATE, weight_decay=WEIGHT_DECAY, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    for _ in range(4):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=draw)
            other.grad = one.grad.clone()
        mine.step(PEAK_RATE)
        torchs.step()
    for one, other in zip(ours, theirs, strict=True):
        # Both iterate in bfloat16, and round in another order.
        torch.testing.assert_close(one, other, atol=2e-4, rtol=0)


def test_updates_are_nearly_orthogonal():
    found = orthogonalized(torch.randn((3, 48, 16), generator=torch.Generator().manual_seed(1))).float()
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.5
    assert values.max() < 1.5


def test_a_loss_is_descended_and_the_state_continues():
    def model():
        torch.manual_seed(0)
        return torch.nn.Linear(8, 8)

    one, other = model(), model()
    inputs = torch.randn((32, 8), generator=torch.Generator().manual_seed(2))

    def loss(each):
        return (each(inputs) - inputs.flip(1)).pow(2).mean()

    first = Optimizer(one.parameters(), [])
    before = loss(one).item()
    for _ in range(5):
        first.step(loss(one), PEAK_RATE)
    assert loss(one).item() < before
    other.load_state_dict(one.state_dict())
    second = Optimizer(other.parameters(), [])
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for each, optimizer in ((one, first), (other, second)):
        optimizer.step(loss(each), PEAK_RATE)
    assert torch.equal(one.weight, other.weight)


def test_the_schedule_warms_up_and_ends_at_zero():
    assert rate(0, 1000) == pytest.approx(PEAK_RATE / 100)
    assert rate(500, 1000) == PEAK_RATE
    assert rate(999, 1000) == pytest.approx(PEAK_RATE / 250)
