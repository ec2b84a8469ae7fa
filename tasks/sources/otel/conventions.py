"""Attribute names that OpenTelemetry instrumentations use for model calls.

Covers OpenTelemetry's GenAI conventions, its older ones, OpenInference, OpenLLMetry (Traceloop), OpenLIT, LiteLLM and
Pydantic AI; the first present name takes precedence.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

MODEL = (
    "gen_ai.response.model", "llm.response.model_name", "llm.response.model", "llm.model_name", "embedding.model_name",
    "gen_ai.request.model", "llm.request.model_name", "llm.request.model",
)  # fmt: skip
"""The model that served, else the requested one."""

PROVIDER = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")

COST_USD = (
    "llm.cost.total", "gen_ai.usage.cost", "gen_ai.cost.total_cost", "litellm.cost.total", "operation.cost",
)  # fmt: skip
COST_PARTS = ("llm.cost.prompt", "llm.cost.completion")
COST_AMOUNT, COST_CURRENCY = "gen_ai.usage.cost.amount", "gen_ai.usage.cost.currency"

PROMPT_TOKENS = (
    "gen_ai.usage.input_tokens", "llm.token_count.prompt", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens",
)  # fmt: skip
COMPLETION_TOKENS = (
    "gen_ai.usage.output_tokens", "llm.token_count.completion", "gen_ai.usage.completion_tokens",
    "llm.usage.completion_tokens",
)  # fmt: skip
CACHE_READ_TOKENS = (
    "gen_ai.usage.cache_read.input_tokens", "llm.token_count.prompt_details.cache_read",
    "gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.prompt_tokens_details.cached_tokens",
)  # fmt: skip
CACHE_WRITE_TOKENS = (
    "gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens",
    "llm.token_count.prompt_details.cache_write", "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.prompt_tokens_details.cache_creation_tokens",
)  # fmt: skip
"""Tokens read from or written to the provider's cache: for the price only, not a hit of the router's cache."""

RESPONSE_ID = ("gen_ai.response.id",)
ERROR_TYPE = ("error.type",)
FAILURE = ("error", "http.response.status_code", "http.status_code")
"""Of spans without a status: whether they failed, as routewatch.gate.read_failure reads it."""
EXCEPTION_TYPE = "exception.type"

EVALUATION_NAME, SCORE_VALUE, SCORE_LABEL = (
    f"gen_ai.evaluation.{name}" for name in ("name", "score.value", "score.label")
)
JUDGED = ("annotations.", "evaluations.")
"""Prefixes of OpenInference's lists: each field of each item is an attribute."""

COMPLEXITY, CACHE_HIT, ACCURACY, SATISFACTION, TEAM, INTERNAL, EXPERIMENT, ARM, UNIT_BUCKET = (
    f"routewatch.{name}"
    for name in (
        "complexity", "cache_hit", "accuracy", "user_satisfaction", "team", "internal", "experiment", "arm",
        "unit_bucket",
    )
)  # fmt: skip
"""Attributes that a router may set itself where no convention has a name."""


class Role(Enum):
    """The role of a span in a trace. A STEP is of an agent, a tool or a chain; a PLAIN one has no model data."""

    GENERATION = "generation"
    EMBEDDING = "embedding"
    STEP = "step"
    PLAIN = "plain"

    @property
    def is_call(self) -> bool:
        return self in (Role.GENERATION, Role.EMBEDDING)


OPERATION = "gen_ai.operation.name"

ROLES: Mapping[str, Mapping[str, Role | str]] = {
    "openinference.span.kind": {
        "llm": Role.GENERATION, "embedding": Role.EMBEDDING, "chain": "a chain's span", "agent": "an agent's span",
        "tool": "a tool's span", "retriever": "a retrieval", "reranker": "a reranking", "guardrail": "a guardrail",
        "evaluator": "an evaluation", "prompt": "a prompt's rendering", "decision": "a decision model's call",
    },
    OPERATION: {
        "chat": Role.GENERATION, "text_completion": Role.GENERATION, "generate_content": Role.GENERATION,
        "completion": Role.GENERATION, "embeddings": Role.EMBEDDING, "embedding": Role.EMBEDDING,
        "create_agent": "an agent's span", "invoke_agent": "an agent's span", "plan": "an agent's span",
        "invoke_workflow": "a workflow's span", "execute_task": "a workflow's span", "execute_tool": "a tool's span",
        "retrieval": "a retrieval", "vectordb": "a retrieval", "vector_db_retrieve": "a retrieval",
    },
    "traceloop.span.kind": {
        "workflow": "a workflow's span", "task": "a workflow's span", "agent": "an agent's span",
        "tool": "a tool's span",
    },
    "llm.request.type": {
        "chat": Role.GENERATION, "completion": Role.GENERATION, "embedding": Role.EMBEDDING, "rerank": "a reranking",
    },
}  # fmt: skip
"""Attributes that name a span's role, most reliable first; a text is the reason why it is not a selection."""

ATTRIBUTES = frozenset({
    *MODEL, *PROVIDER, *COST_USD, *COST_PARTS, COST_AMOUNT, COST_CURRENCY, *PROMPT_TOKENS, *COMPLETION_TOKENS,
    *CACHE_READ_TOKENS, *CACHE_WRITE_TOKENS, *RESPONSE_ID, *ERROR_TYPE, *FAILURE, EVALUATION_NAME, SCORE_VALUE,
    SCORE_LABEL, CACHE_HIT, ACCURACY, SATISFACTION, EXCEPTION_TYPE, *ROLES,
})  # fmt: skip
"""All attributes that are read regardless of the settings."""
