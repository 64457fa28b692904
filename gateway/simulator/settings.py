"""
What a simulated server is: its address, its models, its speed and its faults.

Every default is usable as it stands; nothing here is read from the environment.
"""

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from .faults import Fault


class SimulatorSettings(BaseModel):
    """Frozen; the faults alone can be replaced while the simulator runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=9101, ge=0, le=65535, description="0 takes a free port.")
    models: tuple[str, ...] = Field(
        default=("demo-model",), min_length=1, description="Names of the models served."
    )
    api_key: SecretStr | None = Field(
        default=None, description="Bearer key that /v1/* then asks for."
    )
    seed: int = Field(default=0, description="Another seed gives other answers.")
    tokens_per_second: float = Field(
        default=0.0, ge=0, description="Speed of each answer; 0 is as fast as possible."
    )
    time_to_first_token: float = Field(
        default=0.0, ge=0, le=3600, description="Seconds before the first token."
    )
    jitter: float = Field(
        default=0.0, ge=0, le=1, description="Share by which waits vary at random (seeded)."
    )
    answer_tokens: int = Field(
        default=32, ge=1, description="Tokens of an answer that nothing cuts short."
    )
    burst: int = Field(
        default=1, ge=1, description="Events written at once when there is no speed limit."
    )
    max_model_len: int = Field(default=32768, ge=2, description="Tokens of prompt and answer.")
    max_running: int = Field(
        default=1024, ge=1, description="Requests worked on at once; the others wait their turn."
    )
    embedding_dimensions: int = Field(default=64, ge=1, le=4096, description="Of a vector.")
    keep_alive: int = Field(
        default=5, ge=1, description="Seconds after which an idle connection is closed."
    )
    stop_with_stdin: bool = Field(
        default=False,
        description="Stop when standard input ends: with the process that started it.",
    )
    faults: tuple[Fault, ...] = Field(default=(), description="Faults in force from the start.")
