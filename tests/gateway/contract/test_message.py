"""Which messages a conversation may hold."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from gateway.contract.message import Message

MESSAGE: TypeAdapter[Any] = TypeAdapter(Message)
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    "message",
    [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": [{"type": "text", "text": "a"}], "name": "n"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": "http://x/"}]},
        {
            "role": "user",
            "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}],
        },
        {"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]},
        {"role": "user", "content": [{"type": "video_url", "video_url": {"url": "x"}}]},
        {"role": "user", "content": [{"no": "type"}]},
        {"role": "assistant", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {}}]},
        {"role": "assistant", "function_call": {"name": "f", "arguments": ""}},
        {"role": "assistant", "refusal": "No.", "content": None},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "42"},
        {"role": "tool", "tool_call_id": "call_1"},
        {"role": "function", "name": "f", "content": None},
        {"role": "user", "content": "a", "unknown": {"deep": [1]}},
    ],
)
def test_every_form_of_message_is_accepted(message: dict[str, Any]) -> None:
    MESSAGE.validate_python(message)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": None},
        {"role": "system"},
        {"role": "tool", "content": "42"},
        {"role": "function", "content": "42"},
        {"role": "assistant", "content": 5},
        {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
        {
            "role": "assistant",
            "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {}}}],
        },
        {"role": "user", "content": [{"type": "text", "text": 5}]},
        {"role": "user", "content": ["text"]},
        {"role": "User", "content": "a"},
    ],
)
def test_a_message_that_no_upstream_could_read_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MESSAGE.validate_python(message)
