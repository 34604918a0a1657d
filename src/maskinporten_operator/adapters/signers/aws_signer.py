"""Signs by a key of AWS KMS, with the credentials that boto3 finds, such as a ServiceAccount's role."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from maskinporten_operator.adapters.signers.signer import CALL_SECONDS, SigningError

if TYPE_CHECKING:
    from maskinporten_operator.adapters.signers.signer import Signer

MAX_RAW = 4096
"""Bytes that KMS hashes itself; of more it takes the digest."""
ALGORITHM = "RSASSA_PKCS1_V1_5_SHA_256"


class AwsSigner:
    """A key in KMS."""

    def __init__(self, arn: str, client: Any) -> None:
        self._arn = arn
        self._client = client

    def sign(self, message: bytes) -> bytes:
        """Sign.

        Raises:
            SigningError: There is no signature.
        """
        raw = len(message) <= MAX_RAW
        try:
            answer = self._client.sign(
                KeyId=self._arn,
                Message=message if raw else sha256(message).digest(),
                MessageType="RAW" if raw else "DIGEST",
                SigningAlgorithm=ALGORITHM,
            )
            return bytes(answer["Signature"])
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            raise SigningError(f"AWS KMS doesn't sign ({code if code.isidentifier() else 'unknown error'})") from None
        except (BotoCoreError, KeyError) as error:
            raise SigningError(f"AWS KMS doesn't sign ({type(error).__name__})") from None


def open_signer(reference: str) -> Signer:
    """Give what signs by the key of this ARN, in the region that the ARN names.

    Raises:
        SigningError: boto3 can't be used as it is configured.
    """
    config = Config(connect_timeout=CALL_SECONDS, read_timeout=CALL_SECONDS, retries={"total_max_attempts": 2})
    try:
        client = boto3.session.Session().client("kms", region_name=reference.split(":")[3], config=config)
    except BotoCoreError as error:
        raise SigningError(f"boto3 can't be used ({type(error).__name__})") from None
    return AwsSigner(reference, client)
