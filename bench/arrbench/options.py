"""Typed, documented, defaulted options: the base of every ranker's and every task's."""

from pydantic import BaseModel, ConfigDict


class BaseOptions(BaseModel):
    """Options of a plugin. Every field has a default and a description; unknown names are refused.

    Values arrive as text from the command line or as TOML values and are coerced to the field's
    type by pydantic, which raises `pydantic.ValidationError` for what does not fit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())
