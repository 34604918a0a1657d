"""What a pass makes of a write that was held back."""

import pytest

from maskinporten_operator.model.conditions import Reason
from maskinporten_operator.model.errors import StandbyError
from maskinporten_operator.plan.outcomes import STANDBY_RECHECK_SECONDS, deletion_blocked, not_ready


@pytest.mark.parametrize("judge", [not_ready, deletion_blocked])
def test_it_ends_quietly_and_is_made_again_later(judge):
    outcome = judge(StandbyError(Reason.CLUSTER_UNAVAILABLE, "nothing is written").blocker)

    assert outcome.verdicts == ()
    assert (outcome.retry.delay, outcome.retry.failed) == (STANDBY_RECHECK_SECONDS, False)
