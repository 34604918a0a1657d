"""The contract of DigDir's self-service API: what is published or was observed of it, as data, and checks against it.

It holds both sides to one picture that neither of them made up: the simulator takes its operations from here and
records what breaks the contract, and answers of the real API can be compared with it::

    contract = load()
    match = contract.match("PUT", "/clients/some-id")      # path below /api/v1; None if there is no such operation
    check_query(match.operation, [("inactive", "true")])   # what is wrong with a request's query …
    check_body(match.operation, document)                  # … and with its body
    check_answer(match.operation, 200, document)           # what is wrong with an answer
    contract.unknown["empty_jwks"].values                  # ways in which DigDir may behave, as nothing tells which

A check gives a list of `Finding`s, empty if all is well. No finding holds a value, since those may be secret.
"""

from digdir_contract.checks import Finding, Kind, check_answer, check_body, check_path, check_query
from digdir_contract.model import Contract, Match, Member, Operation, Parameter, Unknown, load

__all__ = [
    "Contract",
    "Finding",
    "Kind",
    "Match",
    "Member",
    "Operation",
    "Parameter",
    "Unknown",
    "check_answer",
    "check_body",
    "check_path",
    "check_query",
    "load",
]
