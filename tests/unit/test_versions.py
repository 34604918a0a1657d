"""Which versions of an object are news, and whether anybody else wrote it: of any order of events and own writes."""

from hypothesis import given
from hypothesis import strategies as st

from maskinporten_operator.runtime.versions import Versions

numbers = st.integers(1, 30)
histories = st.lists(st.tuples(st.booleans(), numbers))


def play(history):
    versions = Versions()
    news = [(versions.record_own_write if own else versions.offer)(number) for own, number in history]
    return versions, news


def test_a_version_is_news_once():
    versions = Versions()

    assert versions.offer(10)
    assert not versions.offer(10)


def test_an_echo_of_our_own_write_is_no_news_and_nobody_elses():
    versions = Versions(10)

    assert versions.record_own_write(12)
    assert not versions.offer(11)
    assert not versions.offer(12)
    assert not versions.has_foreign_write(since=10)


def test_a_write_after_our_own_is_somebody_elses():
    versions = Versions(10)
    versions.record_own_write(12)

    assert versions.offer(13)
    assert versions.has_foreign_write(since=10)


def test_what_a_pass_began_with_is_nobody_elses_write_since():
    assert not Versions(10).has_foreign_write(since=10)


@given(histories)
def test_whatever_the_order_the_newest_wins_and_only_it_is_news(history):
    versions, news = play(history)
    seen = [0]
    for (_, number), is_news in zip(history, news, strict=True):
        assert is_news == (number > max(seen))
        seen.append(number)

    assert versions.newest == max(seen)
    assert versions.own == max((number for own, number in history if own), default=0)


@given(histories, numbers)
def test_a_foreign_write_is_one_above_all_of_ours_and_above_what_the_pass_began_with(history, since):
    versions, _ = play(history)
    ours = [number for own, number in history if own]

    foreign = any(number > max([since, *ours]) for own, number in history if not own)

    assert versions.has_foreign_write(since) == foreign
