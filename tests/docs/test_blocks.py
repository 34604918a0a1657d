"""How pages are read, and what they show is compared with what is printed."""

import pytest

from tests.docs.blocks import Command, Heading, SavedFile, matches, read_page

PAGE = """
# Title

```yaml title="app.yaml"
kind: Application
```

```yaml
kind: Ignored
```

1. In a list

   ```console
   $ one --with \\
       two    # a remark
   $ three | \\
       four
   a line
   another
   $ list |
       while read -r one; do
         echo "$one"
       done
   done
   ```
"""


def test_files_with_a_title_and_commands_of_console_blocks_are_read_in_order():
    assert read_page(PAGE) == [
        Heading("Title"),
        SavedFile("app.yaml", "kind: Application\n"),
        Command("one --with \\\n    two    # a remark", "", 15),
        Command("three | \\\n    four", "a line\nanother", 17),
        Command('list |\n    while read -r one; do\n      echo "$one"\n    done', "done", 21),
    ]


def test_a_console_block_that_begins_with_output_is_an_error():
    with pytest.raises(AssertionError, match="line 3 is no command: output"):
        read_page("\n```console\noutput\n$ one\n```\n")


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("NAME   AGE\napp    …", "NAME      AGE\napp       2s  \n"),
        ("client …: there", "client 4711 of x: there"),
        ("first\n…\nlast", "first\nlast"),
        ("first\n…\nlast", "first\nsecond\nthird\nlast"),
        ("a.b (c)", "a.b (c)"),
    ],
)
def test_what_is_shown_stands_for_what_is_printed(shown, printed):
    assert matches(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("first\n…\nlast", "first\nlast\nmore"),
        ("first", "first\nsecond"),
        ("first\nsecond", "first"),
        ("a.b", "axb"),
        ("one …", "one\ntwo"),
    ],
)
def test_what_differs_from_what_is_shown_is_noticed(shown, printed):
    assert not matches(shown, printed)
