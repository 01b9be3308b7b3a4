"""Thinking on and off, arguments of chat templates, system prompts: what checkpoints' own templates make of
them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from family_checkpoints import save_published

from evalkit.core.errors import UsageError
from evalkit.core.types import MediaRef, Text
from evalkit.metrics.reasoning import opens_reasoning
from evalkit.models.base import LoadConfig
from evalkit.models.chat_options import ChatOptions, resolved_arguments, template_variables
from evalkit.models.conformance.checkpoint import TinyCheckpoint
from evalkit.models.families.qwen3_vl.adapter import FAMILY_ADAPTER
from evalkit.models.families.qwen3_vl.tiny import TINY
from evalkit.models.hf_model import with_chat
from evalkit.models.loading import describe_model

# The ends of published templates. Qwen3 and Qwen3.5 (https://huggingface.co/Qwen/Qwen3-8B,
# tokenizer_config.json), Qwen3-VL-Thinking (always thinks), GLM-4.5V (`/nothink`), Granite 4 (`thinking`).
TURNS = "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for item in message.content %}" + (
    "{% if item.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif item.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>{% else %}{{ item.text }}"
    "{% endif %}{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
)
QWEN3 = TURNS + (
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}"
    "{% endif %}{% endif %}"
)
QWEN35 = TURNS + (
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}"
    "{% else %}{{ '<think>\\n' }}{% endif %}{% endif %}"
)
ALWAYS = TURNS + "<think>\n{% endif %}"
GRANITE = TURNS + "{% if thinking %}<think>\n{% endif %}{% endif %}"
NEVER = TURNS + "{% endif %}"


def render(template: str, arguments: Any) -> str:
    import jinja2

    messages = [{"role": "user", "content": [{"type": "text", "text": "Q"}]}]
    text: str = (
        jinja2.Environment()
        .from_string(template)
        .render(messages=messages, add_generation_prompt=True, **arguments)
    )
    return text


def asked(template: str, thinking: Any, **arguments: Any) -> str:
    given = tuple((name, json.dumps(value)) for name, value in arguments.items())
    found = resolved_arguments(
        ChatOptions(thinking, given), template, lambda values: render(template, values)
    )
    return render(template, found)


@pytest.mark.parametrize(
    ("template", "thinking", "end"),
    [
        (QWEN3, "template", "assistant\n"),
        (QWEN3, "on", "assistant\n"),
        (QWEN3, "off", "<think>\n\n</think>\n\n"),
        (QWEN35, "template", "<think>\n"),
        (QWEN35, "on", "<think>\n"),
        (QWEN35, "off", "<think>\n\n</think>\n\n"),
        (ALWAYS, "template", "<think>\n"),
        (ALWAYS, "on", "<think>\n"),
        (GRANITE, "template", "assistant\n"),
        (GRANITE, "on", "<think>\n"),
        (GRANITE, "off", "assistant\n"),
        (NEVER, "off", "assistant\n"),
    ],
)
def test_thinking_is_what_the_template_calls_it(template: str, thinking: str, end: str) -> None:
    assert asked(template, thinking).endswith(end)


def test_what_a_template_can_t_do_is_refused() -> None:
    with pytest.raises(UsageError, match="always opens reasoning"):
        asked(ALWAYS, "off")
    with pytest.raises(UsageError, match="no argument for thinking"):
        asked(NEVER, "on")
    with pytest.raises(UsageError, match="no argument of that name; it asks for `enable_thinking`"):
        asked(QWEN3, "template", enable_thinkin=False)
    with pytest.raises(UsageError, match="both say whether"):
        asked(QWEN3, "on", enable_thinking=False)


def test_other_arguments_reach_the_template() -> None:
    template = TURNS + "{{ effort | default('high') }}{% generation %}{% endgeneration %}{% endif %}"
    assert template_variables(template) == {"effort"}
    assert asked(QWEN3, "template", enable_thinking=False).endswith("</think>\n\n")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tiny: TinyCheckpoint = TINY
    return tiny.save(tmp_path_factory.mktemp("made") / "ckpt", FAMILY_ADAPTER.model_class)


def with_template(checkpoint: Path, folder: Path, template: str) -> Path:
    folder.mkdir()
    for each in checkpoint.iterdir():
        (folder / each.name).write_bytes(each.read_bytes())
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": template}))
    return folder


def test_a_checkpoints_prompt_and_identity(checkpoint: Path, tmp_path: Path) -> None:
    folder = str(with_template(checkpoint, tmp_path / "qwen35", QWEN35))

    def described(*chat: ChatOptions) -> Any:
        return describe_model(folder, load_config=LoadConfig(**({"chat": chat[0]} if chat else {})))

    parts = [MediaRef("image", path="x.png"), Text("What?")]
    plain, off = described(), described(ChatOptions("off"))
    assert opens_reasoning(plain.render(parts))
    assert off.render(parts).endswith("<think>\n\n</think>\n\n")
    assert "thinking" not in plain.identity
    assert off.identity["thinking"] == "off"
    said = described(ChatOptions(template_arguments=(("enable_thinking", "false"),)))
    assert said.render(parts) == off.render(parts)
    assert said.identity["template arguments"] == "enable_thinking=false"
    system = described(ChatOptions(system_prompt="Be brief."))
    assert system.render(parts).startswith("<|im_start|>system\nBe brief.<|im_end|>\n")
    assert len({each.fingerprint for each in (plain, off, said, system)}) == 4
    with pytest.raises(UsageError, match="no argument of that name"):
        described(ChatOptions(template_arguments=(("nothing", "1"),)))


def test_the_published_template_of_an_instruct_model(tmp_path: Path, shared: Path) -> None:
    from family_checkpoints import processor_of

    processor = processor_of(save_published(tmp_path / "p", "qwen3_vl", shared))
    assert "enable_thinking" not in template_variables(processor.template)
    off = with_chat(processor, FAMILY_ADAPTER, ChatOptions("off"))
    assert off.render([Text("Q")], FAMILY_ADAPTER.family, "") == processor.render(
        [Text("Q")], FAMILY_ADAPTER.family, ""
    )
    with pytest.raises(UsageError, match="no argument for thinking"):
        with_chat(processor, FAMILY_ADAPTER, ChatOptions("on"))


def test_a_mock_has_no_template() -> None:
    with pytest.raises(UsageError, match="a mock has no chat template"):
        describe_model("mock", load_config=LoadConfig(chat=ChatOptions("on")))


def test_a_system_prompt_that_a_template_leaves_out_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    template = NEVER.replace("{% for message in messages %}", "{% for message in messages[-1:] %}")
    folder = with_template(checkpoint, tmp_path / "c", template)
    with pytest.raises(UsageError, match="leaves it out"):
        describe_model(str(folder), load_config=LoadConfig(chat=ChatOptions(system_prompt="Be brief.")))
