from gateway.contract.provider import AnyProvider
from gateway.routing import ModelSettings, Routes
from gateway.wiring.targets import targets_of
from providers.huggingface import HuggingFace
from providers.vllm import VLLM


def test_targets_stand_in_for_one_another_in_a_model_and_an_operation() -> None:
    providers: dict[str, AnyProvider] = {
        "v": VLLM("v", VLLM.Settings.model_validate({"kind": "vllm", "base_url": "http://v"})),
        "h": HuggingFace("h", HuggingFace.Settings.model_validate({"kind": "h", "api_key": "k"})),
    }
    both = [{"provider": "v", "model": "m"}, {"provider": "h", "model": "m"}]
    models = {"one": both, "two": both[:1]}
    routes = Routes(
        {name: ModelSettings.model_validate({"targets": given}) for name, given in models.items()},
        providers,
    )

    told = targets_of(routes)

    assert {name: info.provider for name, info in told.items()} == {"v/m": "v", "h/m": "h"}
    assert told["h/m"].pools == {("one", "chat"), ("one", "embedding")}
    assert told["v/m"].pools == {
        (model, operation)
        for model in ("one", "two")
        for operation in ("chat", "completion", "embedding")
    }
    assert told["v/m"].settings == providers["v"].settings
