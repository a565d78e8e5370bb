"""Every prescribed PyTorch snippet has a file in `prescribed/` that runs it as it is pasted.

`crates/steadygrad/tests/prescribed.rs` holds that these snippets are what is prescribed.
"""

from pathlib import Path

TESTS = Path(__file__).parent / "prescribed"
SNIPPETS = Path(__file__).parents[2] / "crates" / "steadygrad" / "src" / "remedy" / "snippets"


def test_every_snippet_is_run_by_its_own_test():
    names = {path.stem for path in SNIPPETS.glob("*.py")}
    assert len(names) > 1
    for name in names:
        assert f'paste("{name}"' in (TESTS / f"test_{name}.py").read_text()
