"""What every resource, list and error has."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")

Share = Annotated[float, Field(ge=0, le=1)]
Version = Literal["netpersona/v1"]


class Model(BaseModel):
    """A value whose fields are all known."""

    model_config = ConfigDict(extra="forbid")


class Named(Model):
    """Which one it is."""

    name: str


class Rest(Model):
    """Where a list goes on."""

    after: str | None = Field(alias="continue", description="Ask again with ?continue= this; null: it ends here.")
    remaining: int


class ListOf(Model, Generic[T]):
    """A list of resources, or a part of it."""

    apiVersion: Version  # noqa: N815 - as in the YAML
    kind: str
    metadata: Rest
    items: list[T]


class Problem(BaseModel):
    """What is wrong, and what to do (RFC 9457)."""

    type: str = Field(
        description="urn:netpersona:problem: and a word that stays.", examples=["urn:netpersona:problem:policy"]
    )
    title: str
    status: int
    detail: str = Field(description="What is wrong, in a sentence.")
    advice: str = Field(description="What to do.")
    errors: list[dict[str, str]] = Field(default=[], description="Where a request is not understood, and why.")
