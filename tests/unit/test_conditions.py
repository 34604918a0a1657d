"""What a condition tells can be shown anywhere."""

import pytest

from maskinporten_operator.model.conditions import READY, Reason, Verdict


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("two\r\nlines", r"two\r\nlines"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\u202eturned around", r"\u202eturned around"),
        ("Sjømat «på» 鱼 – 100 %", "Sjømat «på» 鱼 – 100 %"),
    ],
    ids=["line breaks", "an escape sequence", "a change of direction", "other letters"],
)
def test_what_isnt_printable_in_a_message_stands_as_its_escape(written, shown):
    assert Verdict(READY, "False", Reason.INVALID_SPEC, f"spec.{written}: wrong").message == f"spec.{shown}: wrong"
