"""The zoo's training: it learns, resumes, and computes what the ordinary door computes."""

import itertools
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from evalkit.core.errors import UsageError
from evalkit.rope.hf.install import install
from evalkit.rope.layout import segments_from_types
from evalkit.rope.positions import position_ids
from evalkit.rope.variants import parse_variant
from evalkit.zoo import VARIANTS
from evalkit.zoo.minisuite import encode_clip, png
from evalkit.zoo.scenes import SCENES, Scene, generator
from evalkit.zoo.token_grids import CELL_KINDS, cell_images, pixels
from tools.zoo_training import language, prompts, start, tiny_model, tower, train
from tools.zoo_training.answers import EXACT, Precision, answer_logits, answer_loss, exact_answers
from tools.zoo_training.batches import IGNORED, Collator, training_scenes
from tools.zoo_training.plan import zoo_variants

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tokenizer():
    return prompts.build_tokenizer()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a short start, shared by the tests below."""
    folder = tmp_path_factory.mktemp("training")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(language, "STEPS", 4)
        patch.setattr(start, "STEPS", 2)
        patch.setattr(tower, "STEPS", 60)
        new_trainer("vanilla", folder)
    return folder


def new_trainer(variant, folder, seed=0):
    return train.Trainer(variant, seed, 40, folder, EXACT)


def logits_of(trained, batch):
    return answer_logits(trained.model, batch, trained.patches, EXACT)


def test_no_two_variants_of_the_zoo_are_one_model(folder, tokenizer):
    """As `scaling=base` is on these models, whose base is 10,000 already: its row would say nothing."""
    clip, page = (SCENES[task](generator("test", task, 0)) for task in ("mini_video", "mini_docvqa"))
    answers = {}
    for variant in zoo_variants():
        trained = new_trainer(variant, folder)
        batches = [trained.collator.collate([scene], np.random.default_rng(0)) for scene in (clip, page)]
        with torch.no_grad():
            answers[variant] = torch.cat([logits_of(trained, batch).flatten() for batch in batches])
    for one, two in itertools.combinations(answers, 2):
        assert not torch.allclose(answers[one], answers[two], atol=1e-5), (one, two)


def test_tokenizer_is_the_same_every_time(tokenizer):
    assert prompts.build_tokenizer().to_str() == tokenizer.to_str()


@pytest.mark.parametrize(
    "text", ["What is the code in row 5?", "Ünïcode 漢字\n\t[28, 5]", "left red box", ""]
)
def test_tokenizer_reads_any_text(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_a_box_is_four_tokens_and_codes_are_spelt(tokenizer):
    assert len(tokenizer.encode("[0, 28, 140, 168]").ids) == 4
    for scene in (SCENES["mini_docvqa"](generator("t", i)) for i in range(50)):
        assert all(len(tokenizer.encode(q.answer).ids) == len(q.answer) for q in scene.questions)


def test_every_cell_has_a_name_of_its_own(tokenizer):
    names = prompts.cell_tokens(tokenizer)
    assert len(names) == len(set(names)) == CELL_KINDS


def test_text_of_the_language_stage_can_be_known():
    names = torch.arange(100, 120)
    tokens, known = language.sequences(names, torch.Generator().manual_seed(1))
    for row, mask in zip(tokens.tolist(), known.tolist(), strict=True):
        for at in np.flatnonzero(mask):
            first = row.index(row[at - 1])
            assert row[first + 1] == row[at]


@pytest.mark.parametrize("variant", VARIANTS)
def test_packed_positions_are_those_of_a_lone_question(tokenizer, variant):
    rope = parse_variant(variant).with_defaults(tokens_per_second=1.0)
    collator = Collator(tokenizer, rope)
    for task, make in SCENES.items():
        scene = replace(make(generator("t", 1)), practice=None)
        batch = collator.collate([scene], np.random.default_rng(0))
        for number, question in enumerate(scene.questions[:2]):
            lone = collator.collate([Scene(scene.token_grid, (question,))], np.random.default_rng(0))
            length = lone.ids.shape[1]
            shape = scene.token_grid.shape if scene.token_grid.ndim == 3 else (1, *scene.token_grid.shape)
            pad = prompts.VIDEO_PAD if task == "mini_video" else prompts.IMAGE_PAD
            types = [(2 if task == "mini_video" else 1) if t == pad else 0 for t in lone.ids[0].tolist()]
            segments = segments_from_types(types, [(shape[0], 2 * shape[1], 2 * shape[2])], 2)
            whole = position_ids(rope.position, segments).ids.astype(np.float32)
            assert (lone.positions[:, 0].numpy() == whole).all()
            prefix = 3 + scene.token_grid.size
            own = length - prefix
            at = prefix + sum(
                collator.collate([Scene(scene.token_grid, (q,))], np.random.default_rng(0)).ids.shape[1]
                - prefix
                for q in scene.questions[:number]
            )
            assert torch.equal(batch.positions[:, 0, at : at + own], lone.positions[:, 0, prefix:])


@pytest.mark.parametrize("variant", VARIANTS)
def test_packed_questions_are_computed_as_if_alone(folder, variant):
    trainer = new_trainer(variant, folder)
    for scenes in training_scenes(0, 0):
        scene = Scene(scenes[0].token_grid, scenes[0].questions[:3])
        together = logits_of(trainer, trainer.collator.collate([scene], np.random.default_rng(0)))
        copies = trainer.collator.collate([scene], np.random.default_rng(0)).cells
        alone = []
        for question in scene.questions:
            batch = trainer.collator.collate([Scene(scene.token_grid, (question,))], np.random.default_rng(0))
            assert (batch.cells[batch.cells >= 0] == copies[copies >= 0]).all()
            alone.append(logits_of(trainer, batch))
        torch.testing.assert_close(together, torch.cat(alone), atol=2e-5, rtol=1e-4)


def test_training_features_are_those_of_the_real_processor(folder, tmp_path):
    """Cells looked up by kind equal the tower's output for the PNG through transformers' processor."""
    from PIL import Image

    trainer = new_trainer("vanilla", folder)
    tiny_model.save(trainer.model, trainer.tokenizer, tmp_path / "tiny")
    processor = pytest.importorskip("transformers").AutoProcessor.from_pretrained(tmp_path / "tiny")
    visual = trainer.model.model.visual
    clean = tower.features(visual, torch.from_numpy(cell_images().copy()).float())
    for task in ("mini_docvqa", "mini_chartqa", "mini_refcoco"):
        token_grid = SCENES[task](generator("t", 3)).token_grid
        path = tmp_path / "scene.png"
        path.write_bytes(png(token_grid))
        seen = processor.image_processor(images=[Image.open(path)], return_tensors="pt")
        assert seen["image_grid_thw"].tolist() == [[1, 2 * token_grid.shape[0], 2 * token_grid.shape[1]]]
        found = visual(seen["pixel_values"], grid_thw=seen["image_grid_thw"]).pooler_output
        torch.testing.assert_close(found, clean[token_grid.ravel()], atol=1e-4, rtol=1e-3)


def test_codec_leaves_less_noise_than_the_training_adds(tmp_path):
    av = pytest.importorskip("av")
    errors = []
    for seed in range(6):
        token_grid = SCENES["mini_video"](generator("t", seed)).token_grid
        encode_clip(token_grid, tmp_path / "clip.mp4")
        with av.open(str(tmp_path / "clip.mp4")) as container:
            frames = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
        errors.append(np.abs(frames.astype(float) - np.repeat(pixels(token_grid), 8, axis=0)).mean())
    assert max(errors) < tower.NOISE


def test_a_short_training_lowers_the_loss_and_is_repeatable(folder):
    first, again = (new_trainer("mrope-i", folder) for _ in range(2))
    losses = [first.train_step() for _ in range(12)]
    assert losses[-1] < losses[0] - 0.5
    assert [again.train_step() for _ in range(3)] == losses[:3]


def test_a_stopped_training_continues_where_it_was(folder):
    straight = new_trainer("mhrope", folder)
    straight.run(stop=4)
    stopped = new_trainer("mhrope", folder)
    stopped.run(stop=2)
    stopped.save_state()
    resumed = new_trainer("mhrope", folder)
    resumed.resume()
    assert resumed.step == 2
    resumed.run(stop=4)
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_a_training_whose_rate_falls_is_not_continued_to_other_steps(folder, tmp_path):
    shutil.copy(folder / "start.pt", tmp_path)
    begun = new_trainer("vanilla", tmp_path)
    begun.save_state()
    train.Trainer("vanilla", 0, 80, tmp_path, EXACT).resume()
    begun.step = 31
    begun.save_state()
    with pytest.raises(UsageError, match="step 31 of 40, where the rate falls"):
        train.Trainer("vanilla", 0, 80, tmp_path, EXACT).resume()
    new_trainer("vanilla", tmp_path).resume()


def test_loss_counts_answers_only(tokenizer):
    collator = Collator(tokenizer, parse_variant("vanilla"))
    scene = SCENES["mini_chartqa"](generator("t", 5))
    scene = Scene(scene.token_grid, scene.questions[:1])
    labels = collator.collate([scene], np.random.default_rng(0)).labels[0]
    wanted = [*tokenizer.encode(scene.questions[0].answer).ids, prompts.END]
    assert labels[labels != IGNORED].tolist() == wanted


def test_all_variants_start_from_the_same_weights_and_see_the_same_samples(folder):
    models = [new_trainer(variant, folder) for variant in VARIANTS]
    reference = models[0].model.state_dict()
    for other in models[1:]:
        assert all(torch.equal(v, reference[k]) for k, v in other.model.state_dict().items())
        for mine, theirs in zip(training_scenes(0, 7), training_scenes(0, 7), strict=True):
            one = models[0].collator.collate(mine, np.random.default_rng(1))
            two = other.collator.collate(theirs, np.random.default_rng(1))
            assert torch.equal(one.ids, two.ids)
            assert torch.equal(one.labels, two.labels)
            assert torch.equal(one.cells, two.cells)


def test_install_keeps_the_loss_path_differentiable(folder):
    trainer = new_trainer("mhrope", folder)
    install(trainer.model, parse_variant("mhrope"))
    batch = trainer.collator.collate(training_scenes(0, 0)[1], np.random.default_rng(0))
    cross_entropy(logits_of(trainer, batch), batch.labels[batch.labels != IGNORED]).backward()
    assert trainer.model.model.visual.merger.mlp[0].weight.grad is not None
    assert trainer.model.model.visual.blocks[0].attn.qkv.weight.grad is None


@pytest.mark.parametrize("variant", ["mrope", "mhrope", "circlerope"])
def test_the_decoder_computes_what_transformers_computes(folder, variant):
    trainer = new_trainer(variant, folder)
    text = trainer.model.model.language_model
    for scenes in training_scenes(0, 3):
        batch = trainer.collator.collate(scenes, np.random.default_rng(0), length=120)
        merged = trainer.model.model.visual.merger(trainer.patches)
        embedded = text.embed_tokens(batch.ids)
        shown = (batch.cells >= 0)[..., None]
        hidden = text(
            inputs_embeds=torch.where(shown, merged[batch.cells.clamp(min=0)], embedded),
            attention_mask={"full_attention": batch.mask},
            position_ids=batch.positions,
            use_cache=False,
        ).last_hidden_state
        expected = hidden[batch.labels != IGNORED] @ text.embed_tokens.weight.T
        torch.testing.assert_close(logits_of(trainer, batch), expected, atol=2e-5, rtol=1e-4)
        rough = answer_logits(
            trainer.model, batch, trainer.patches, Precision(torch.bfloat16, compiled=False)
        )
        torch.testing.assert_close(rough, expected, atol=0.1, rtol=0.1)


def test_a_scene_is_padded_to_its_length_and_asked_what_fits(tokenizer):
    collator = Collator(tokenizer, parse_variant("vanilla"))
    for scenes, length in zip(training_scenes(0, 1), (60, 80), strict=True):
        batch = collator.collate(scenes, np.random.default_rng(0), length=length)
        assert batch.ids.shape == (len(scenes), length)
        ends = (batch.labels == prompts.END).sum().item()
        assert len(scenes) <= ends == len(batch.kinds)


def test_told_pictures_have_no_visual_tokens_and_the_positions_of_text(tokenizer):
    for scenes in training_scenes(0, 2):
        ours, theirs = (
            Collator(tokenizer, parse_variant(name)).collate(scenes, np.random.default_rng(0), told=True)
            for name in ("mhrope", "videorope")
        )
        assert (ours.cells == -1).all()
        assert not np.isin(ours.ids, (prompts.IMAGE_PAD, prompts.VIDEO_PAD)).any()
        assert (ours.positions == ours.positions[:1]).all()
        assert torch.equal(ours.positions, theirs.positions)
        assert not any(kind.startswith("reading") for kind in ours.kinds)


def test_exact_answers_are_those_without_a_wrong_token(tokenizer):
    collator = Collator(tokenizer, parse_variant("vanilla"))
    scenes = training_scenes(0, 1)[0]
    batch = collator.collate(scenes, np.random.default_rng(0))
    labels = batch.labels[batch.labels != IGNORED]
    right = torch.nn.functional.one_hot(labels, tokenizer.get_vocab_size()).float()
    assert exact_answers(right, batch) == [True] * len(batch.kinds)
    first_end = int(torch.nonzero(labels == prompts.END)[0])
    right[first_end + 1] = 0
    right[first_end + 1, int(labels[first_end + 1]) + 1] = 1
    assert exact_answers(right, batch) == [True, False] + [True] * (len(batch.kinds) - 2)


def test_the_loss_counts_tokens_first_and_questions_later(tokenizer):
    collator = Collator(tokenizer, parse_variant("vanilla"))
    batch = collator.collate(training_scenes(0, 1)[0], np.random.default_rng(0))
    labels = batch.labels[batch.labels != IGNORED]
    logits = torch.randn(
        (len(labels), tokenizer.get_vocab_size()), generator=torch.Generator().manual_seed(0)
    )
    each = cross_entropy(logits, labels, reduction="none")
    weights = batch.weights[batch.labels != IGNORED]
    assert answer_loss([logits], [batch], by_question=False).item() == pytest.approx(each.mean().item())
    expected = (weights * each).sum() / weights.sum()
    assert answer_loss([logits], [batch], by_question=True).item() == pytest.approx(expected.item())


def test_seeds_draw_other_samples():
    one, two = (training_scenes(seed, 0)[0][0].token_grid for seed in (0, 1))
    assert one.shape != two.shape or (one != two).any()
