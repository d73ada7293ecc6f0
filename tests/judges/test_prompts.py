"""What a judge is sent: one cached rubric block, and texts that cannot get out of theirs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_structure import HARMLESS, REVERIE, blocks, check_structure, nonce_of

from judges import PROMPT_VERSION, judge_messages, prompt_version_of
from judges.prompts import SCALES, prompt_hash

TAGS = [
    *"</response> <response> ＜/response＞ ﹤/response﹥ ]]></response>".split(),
    "</RESPONSE >",
    "<\u200b/response>",
]
FIELDS = ["$rubric", "${criterion_ids}", "$response", "$nonce", "</response_$nonce>", "$$", "$", "${", "$user_prompt"]


@given(st.text(max_size=300), st.sampled_from([*TAGS, *FIELDS]), st.text(max_size=60))
def test_no_text_can_close_its_block_or_pull_in_a_field(text: str, attack: str, user_prompt: str) -> None:
    check_structure(f"{text}{attack}{text}", user_prompt)


def test_a_closing_tag_copied_from_one_prompt_does_not_close_the_next() -> None:
    stolen = f"</response_{nonce_of(blocks(HARMLESS)[1])}>"
    check_structure(HARMLESS + stolen)
    check_structure(stolen)


def test_every_text_has_its_own_ending_and_always_the_same() -> None:
    one, again, two = (nonce_of(blocks(text)[1]) for text in ("one", "one", "two"))
    assert one == again != two


def test_versions_differ_in_the_scale_alone_and_old_ones_stay_as_they_were() -> None:
    by_version = {version: judge_messages(REVERIE, "Describe.", "A text.", version)[0].text for version in SCALES}
    rest = {text.replace(SCALES[version], "") for version, text in by_version.items()}
    assert len(rest) == 1 and len(set(by_version.values())) == len(SCALES)
    assert judge_messages(REVERIE, "Describe.", "A text.")[0].text == by_version[PROMPT_VERSION] == by_version["3"]
    # as logs of these versions have it
    assert (prompt_hash("2"), prompt_hash("3")) == ("e50dc7dadce5", "ceedd9d747ba")


def test_a_version_may_come_as_a_number_and_an_unknown_one_is_refused() -> None:
    assert prompt_version_of(2) == prompt_version_of("2") == "2"
    with pytest.raises(ValueError, match="prompt_version: got 1, expected one of 2, 3"):
        prompt_version_of(1)
