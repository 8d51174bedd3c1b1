"""Every input that is kept is given to its target again."""
import subprocess

import pytest

from fuzz import targets

FILES_MAX = 160
FILE_MAX_BYTES = 8192


@pytest.mark.parametrize("name", targets.NAMES)
def test_replay(name):
    paths = targets.inputs(targets.corpus(name))
    done = targets.replay(targets.BUILD / "tests" / f"fuzz_{name}", paths)
    # The last path in it is that of the input that failed.
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == f"{len(paths)} replayed\n"


@pytest.mark.parametrize("name", targets.NAMES)
def test_corpora_are_small(name):
    paths = targets.inputs(targets.corpus(name))
    assert 10 <= len(paths) <= FILES_MAX
    assert all(path.stat().st_size <= FILE_MAX_BYTES for path in paths)


def test_every_target_has_its_corpus_and_files_to_cover():
    assert set(targets.COVERED) == set(targets.NAMES)
    assert {path.name for path in targets.corpus("").iterdir()} == set(targets.NAMES)
    for files in targets.COVERED.values():
        assert all((targets.ROOT / "src" / file).exists() for file in files)


def test_a_target_that_fails_says_where(tmp_path):
    """Or the replay would prove nothing."""
    source = tmp_path / "fuzz_fails.c"
    source.write_text('#include "fuzz.h"\n'
                      "int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)\n"
                      "{ (void)data; HOLD(size < 2); return 0; }\n", encoding="ascii")
    program = tmp_path / "fails"
    # Of fuzz.c nothing else is linked, and so nothing of src.
    subprocess.run(["gcc", "-D_GNU_SOURCE", f"-I{targets.HERE}", f"-I{targets.ROOT / 'src'}",
                    "-ffunction-sections", "-Wl,--gc-sections", "-o", program, source,
                    targets.HERE / "fuzz.c", targets.HERE / "replay.c"], check=True, timeout=60)
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(b"1")
    bad.write_bytes(b"12")
    assert targets.replay(program, [good]).returncode == 0
    done = targets.replay(program, [good, bad])
    assert done.returncode < 0
    assert f"{bad}\n{source}:3: does not hold: size < 2\n" in done.stderr
