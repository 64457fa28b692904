from gateway.pipeline.call import Call


def test_what_is_asked_is_not_shown_with_it() -> None:
    call = Call("chat", {"messages": [{"role": "user", "content": "a secret"}]}, stream=True)

    assert "a secret" not in repr(call)


def test_a_call_has_no_cap_unless_limits_say_so() -> None:
    call = Call("chat", {}, stream=False)

    assert call.max_output is None
    assert call.most == 0
