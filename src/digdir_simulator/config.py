"""What is fixed when the simulator starts (`Config`) and what may change while it runs (`Settings`)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MAX_LAG_SECONDS = 120.0
"""DigDir documents that a change reaches Maskinporten within two minutes."""


class Manners(BaseModel):
    """How DigDir behaves where nothing public tells how: a setting for each question that the contract lists.

    What each is about, and what speaks for which value, is in ``unknown`` of the contract.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    created_status: Literal[200, 201] = Field(default=201, description="status of POST /clients and POST /scopes")
    deleted_status: Literal[200, 204] = Field(
        default=200, description="status of every DELETE; 204 never has a body, 200 has one for scopes and accesses"
    )
    duplicate_scope_status: Literal[400, 409] = Field(
        default=409, description="refusal of POST of a scope whose namesake is active"
    )
    empty_list_is_error: bool = Field(
        default=False, description='an empty list is answered with a "does not have any" error'
    )
    list_includes_jwks: bool = Field(default=True, description="GET /clients has the keys of each client")
    empty_jwks: Literal["keys", "empty-object", "not-found"] = Field(
        default="keys", description='GET jwks without keys: {"keys": []}, {} or a 404'
    )
    missing_keys_deletion_status: Literal[200, 404, 409] = Field(
        default=200, description="answer to DELETE jwks of a client without keys"
    )
    expired_keys_accepted: bool = Field(default=True, description="keys may be sent that have expired")
    inactive_client_is_found: bool = Field(
        default=False, description="an inactive client is read by its id; else that takes ?inactive=true"
    )
    inactive_client_changes: Literal["refused", "stays-inactive", "reactivated"] = Field(
        default="reactivated",
        description="changes of an inactive client: a 409, taken, or taken and PUT with active true brings it back",
    )
    allow_clients_without_scopes: bool = Field(
        default=False, description="POST and PUT of a client accept an empty list of scopes"
    )
    owner_needs_access: bool = Field(
        default=False, description="an organisation needs an access of its own to use its own scopes"
    )
    inactive_scope_access_changes: bool = Field(
        default=True, description="access to an inactive scope may be given and taken back; else that is a 409"
    )
    missing_access_revocation_status: Literal[200, 404] = Field(
        default=404, description="answer to DELETE of an access that was never given"
    )
    access_list_includes_denied: bool = Field(
        default=False, description="lists of accesses have those taken back without ?inactive=true too"
    )
    orgno_check: Literal["digits", "checksum"] = Field(
        default="digits",
        description="which consumers PUT of an access refuses: not nine digits, or a wrong check digit",
    )
    scope_read_with_write_right: bool = Field(
        default=True, description="idporten:scopes.write suffices for GET /scopes/scope; else that takes scopes.read"
    )
    form_limits_enforced: bool = Field(
        default=True, description="limits that are known of DigDir's web form alone hold for requests too"
    )
    assertion_max_seconds: Literal[120, 180] = Field(default=120, description="greatest exp - iat of an assertion")
    assertion_skew_seconds: Literal[0, 10] = Field(
        default=10, description="by which an assertion's iat may be in the future, and its exp in the past"
    )


class Settings(Manners):
    """All that may change while a simulator runs: how DigDir behaves, and how slow it is.

    Read and changed at run time through ``/control/settings``.
    """

    latency_ms: float = Field(default=0, ge=0, le=60_000, description="wait before each admin call is carried out")
    list_lag_seconds: float = Field(
        default=0,
        ge=0,
        le=MAX_LAG_SECONDS,
        description="lists of clients, scopes and accesses show the state of this long ago",
    )
    propagation_delay_seconds: float = Field(
        default=0, ge=0, le=MAX_LAG_SECONDS, description="the token endpoint sees the state of this long ago"
    )


class Config(BaseModel):
    """How a simulator starts.

    Attributes:
        public_url: where clients reach the simulator; with a trailing slash it is the issuer identifier.
        admin_client_id: client_id of the operator's own admin client.
        admin_jwk: RSA JWK of the admin client, public or private; without one a private key is made
            and found as ``app.state.simulator.admin_jwk``.
        trusted_certificates: PEM; with them the admin client has no key, and authenticates with a certificate of its
            organisation's: one of these, or one that one of these issued.
        seed: the seed document (see `digdir_simulator.seed.Seed`); without one, the built-in default.
        state_file: where the state is kept from one start to the next; without one it is in memory only.
        settings: the settings at the start and after a reset.
        api_prefix: path before ``/clients`` and its like.
        ledger_size: number of calls that the ledger keeps.
        control_from_anywhere: whether the control API answers callers on other machines, or in other pods, too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    public_url: str = "http://digdir.test"
    admin_client_id: str = "admin-client"
    admin_jwk: Mapping[str, Any] | None = Field(default=None, repr=False)
    trusted_certificates: str | None = None
    seed: Mapping[str, Any] | None = None
    state_file: Path | None = None
    settings: Settings = Settings()
    api_prefix: str = "/api/v1"
    ledger_size: int = Field(default=200_000, ge=1)
    control_from_anywhere: bool = False

    @field_validator("public_url", "api_prefix")
    @classmethod
    def _without_trailing_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @model_validator(mode="after")
    def _with_one_way_in(self) -> Self:
        if self.admin_jwk is not None and self.trusted_certificates is not None:
            raise ValueError("the admin client has a key or a certificate, not both")
        return self

    @property
    def prefixes(self) -> dict[str, str]:
        """The path before the operations of each version of the API."""
        return {"v1": self.api_prefix, "v2": self.api_prefix.removesuffix("/v1") + "/v2"}

    @property
    def issuer(self) -> str:
        """The issuer identifier; Maskinporten's ends with a slash."""
        return self.public_url + "/"
