"""
Goes on at one vLLM server with a stream that broke off at another.

Exact or not at all. A chat's text so far becomes the last message and is left open
(`continue_final_message`), a completion's is put after the prompt, and the cap is lowered by the
tokens that it took: by the server's own count, so that the whole never passes it. A cap that is
used up already is an end that nobody has told of, and nothing is made up for it.

Chat templates may trim the white space off the end of a message, some do and none says so. So it
is left out, and the continuation has to begin with it again. An answer that is all white space so
far is asked for anew.

A request goes on only if each of its fields is known to mean the same for a rest as for a whole.
These do not, and neither does a field that is not known:

    tools, functions            a call in the making is no text
    response_format,
    structured_outputs, guided_*    grammars begin at the beginning of what is generated
    n, best_of, use_beam_search     several answers
    logprobs, return_token_ids, return_*, echo, kv_transfer_params
                                what is told of the whole would be told of its parts
    stop                        a stop string may begin before the seam: the server would miss it
    bad_words, presence_penalty, frequency_penalty, repetition_detection
                                look at what is generated, which the text so far no longer is
    truncate_prompt_tokens      would cut more off, with a longer prompt
    thinking_token_budget, include_reasoning: false     what was thought is not in the text
    seed                        promises the same answer every time, which a new draw is not,
                                unless the temperature is 0
    suffix                      comes after the prompt, where the text would have to be
    prompt                      as tokens, or several
    add_generation_prompt: false    without a message to continue
    a last message to continue whose content is in parts
    max_tokens                  that is used up

Whether a model thinks is not to be seen in a request; whoever reads the stream gives up on one
that told of reasoning or of calls. A model whose prompt template opens a thought that nobody
parses must not be resumed: its template would not put the text back where it was.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.contract.continuation import Continuation, Said
from gateway.contract.provider import Body, Operation, Target

DEFAULT_OF_COMPLETIONS: Final = 16
"""Tokens of a completion whose request names no maximum."""

# fmt: off
_SAME_FOR_A_REST: Final = frozenset(
    {
        "add_generation_prompt", "add_special_tokens", "allowed_token_ids", "cache_salt",
        "chat_template", "chat_template_kwargs", "continue_final_message", "documents",
        "ignore_eos", "logit_bias", "max_completion_tokens", "max_tokens", "media_io_kwargs",
        "messages", "metadata", "min_p", "min_tokens", "mm_processor_kwargs", "model",
        "parallel_tool_calls", "priority", "prompt", "prompt_cache_key", "reasoning_effort",
        "repetition_penalty", "request_id", "safety_identifier", "seed", "service_tier",
        "session_id", "skip_special_tokens", "spaces_between_special_tokens", "stop_token_ids",
        "store", "stream", "stream_interval", "stream_options", "temperature", "top_k", "top_p",
        "user", "verbosity",
    }
)
# fmt: on
_USUAL: Final[Mapping[str, Any]] = {
    "best_of": 1,
    "frequency_penalty": 0,
    "function_call": "none",
    "include_reasoning": True,
    "length_penalty": 1,
    "n": 1,
    "presence_penalty": 0,
    "response_format": {"type": "text"},
    "tool_choice": "none",
    "top_logprobs": 0,
}
"""Values that say what would hold without them."""


def continuation(
    operation: Operation, body: Body, target: Target, said: Said
) -> Continuation | None:
    """How to ask for the rest of the answer to `body`, None where that can't be exact."""
    if not said.text or not _means_the_same(body):
        return None
    match operation:
        case "chat":
            kept = said.text.rstrip()
            rest = _open_ended(body, kept)
        case "completion":
            kept = said.text
            rest = _prolonged(body, kept)
        case _:
            return None
    if rest is None:
        return None
    spent = said.tokens if kept == said.text else said.solid_tokens if kept else 0
    bounds = _bounds(operation, body, target, spent)
    if bounds is None:
        return None
    return Continuation({**body, **rest, **bounds}, spent, said.text[len(kept) :])


def _means_the_same(body: Body) -> bool:
    if body.get("seed") is not None and body.get("temperature") != 0:
        return False
    return all(
        name in _SAME_FOR_A_REST or _says_nothing(name, value) for name, value in body.items()
    )


def _says_nothing(name: str, value: Any) -> bool:
    if name in _USUAL:
        return value is None or bool(value == _USUAL[name])
    return value is None or value is False or value in ("", [], {})


def _open_ended(body: Body, kept: str) -> dict[str, Any] | None:
    """The fields that make `kept` the beginning of the answer."""
    messages: Sequence[Any] = body["messages"]
    if body.get("continue_final_message"):
        match messages[-1]:
            case {"role": "assistant", "content": str(begun)}:
                last = {**messages[-1], "content": begun + kept}
                return {"messages": [*messages[:-1], last]} if kept else {}
            case _:
                return None
    if body.get("add_generation_prompt") is False:
        return None
    if not kept:
        return {}
    return {
        "messages": [*messages, {"role": "assistant", "content": kept}],
        "continue_final_message": True,
        "add_generation_prompt": False,
    }


def _prolonged(body: Body, kept: str) -> dict[str, Any] | None:
    match body["prompt"]:
        case str(prompt) | [str(prompt)]:
            return {"prompt": prompt + kept}
        case _:
            return None


def _cap(operation: Operation, body: Body, target: Target) -> int | None:
    names = ("max_tokens", "max_completion_tokens") if operation == "chat" else ("max_tokens",)
    given: list[int] = [cap for name in names if (cap := body.get(name)) is not None]
    if given:
        return min(given)
    if target.max_output is None and operation == "completion":
        return DEFAULT_OF_COMPLETIONS
    return target.max_output


def _bounds(operation: Operation, body: Body, target: Target, spent: int) -> dict[str, Any] | None:
    """The bounds of what is generated, less what was spent; None where nothing is left."""
    bounds: dict[str, Any] = {}
    cap = _cap(operation, body, target)
    if cap is not None:
        if cap <= spent:
            return None
        bounds["max_tokens"] = cap - spent
        if "max_completion_tokens" in body:
            bounds["max_completion_tokens"] = None
    if least := body.get("min_tokens"):
        if type(least) is not int:
            return None
        bounds["min_tokens"] = max(0, least - spent)
    return bounds
