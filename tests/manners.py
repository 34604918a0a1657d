"""The manners between which DigDir's lies: settings of the simulator for questions that nothing public answers."""

STRICT = {
    "created_status": 201,
    "deleted_status": 204,
    "duplicate_scope_status": 400,
    "empty_list_is_error": True,
    "list_includes_jwks": False,
    "empty_jwks": "not-found",
    "missing_keys_deletion_status": 409,
    "expired_keys_accepted": False,
    "inactive_client_is_found": False,
    "inactive_client_changes": "refused",
    "allow_clients_without_scopes": False,
    "owner_needs_access": True,
    "inactive_scope_access_changes": False,
    "missing_access_revocation_status": 404,
    "access_list_includes_denied": True,
    "orgno_check": "checksum",
    "scope_read_with_write_right": False,
    "form_limits_enforced": True,
    "assertion_max_seconds": 120,
    "assertion_skew_seconds": 0,
}
"""It refuses what it may, and shows little."""

LAX = {
    "created_status": 200,
    "deleted_status": 200,
    "duplicate_scope_status": 409,
    "empty_list_is_error": False,
    "list_includes_jwks": True,
    "empty_jwks": "keys",
    "missing_keys_deletion_status": 200,
    "expired_keys_accepted": True,
    "inactive_client_is_found": True,
    "inactive_client_changes": "reactivated",
    "allow_clients_without_scopes": True,
    "owner_needs_access": False,
    "inactive_scope_access_changes": True,
    "missing_access_revocation_status": 200,
    "access_list_includes_denied": False,
    "orgno_check": "digits",
    "scope_read_with_write_right": True,
    "form_limits_enforced": False,
    "assertion_max_seconds": 180,
    "assertion_skew_seconds": 10,
}
"""It takes what it may, and shows much."""

ODD = STRICT | {
    "empty_jwks": "empty-object",
    "missing_keys_deletion_status": 404,
    "inactive_client_is_found": True,
    "inactive_client_changes": "stays-inactive",
}
"""It shows what is inactive, and says that it changes it."""
