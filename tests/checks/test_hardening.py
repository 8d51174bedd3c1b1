"""The program that was built is as hard to take over as compiler and linker can make it."""
import pathlib
import os
import shlex
import subprocess

import pytest

from servers import hardening, program

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLE = hardening.Marks("stop", "clock_us", "large", "copy")
CODE = """
#include <stdlib.h>
#include <string.h>
#include <time.h>

volatile int is_stopped;
char text[64];

void stop(void) { is_stopped = 1; }

long clock_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_nsec;
}

int large(const char *from, size_t len)
{
	volatile char bytes[20000];
	for (size_t i = 0; i < len; i++)
		bytes[i] = from[i];
	return bytes[len / 2];
}

char *copy(const char *from, size_t size, size_t len)
{
	char *to = malloc(size);
	memcpy(to, from, len);
	return to;
}

int main(int argc, char **argv)
{
	stop();
	return (int)clock_us() + large(argv[0], (size_t)argc) + *copy(argv[0], (size_t)argc, 1);
}
"""

# What takes a property away again, where it stands behind the Makefile's own flags; and which.
SPOILERS = {
    "-no-pie -fno-pie": {"position-independent"},
    "-Wl,-z,norelro": {"relocations read-only"},
    "-Wl,-z,lazy": {"relocations all at the start"},
    "-Wl,-z,execstack": {"no runnable stack"},
    "-Wl,-z,noseparate-code": {"code apart"},
    "-Wl,-rpath,/nowhere": {"no path of its own to libraries"},
    "-fno-stack-protector": {"stack protector, strong"},
    "-fno-stack-protector -fstack-protector": {"stack protector, strong"},
    "-fno-stack-clash-protection": {"stack clash"},
    "-fcf-protection=none": {"jump targets marked"},
    "-U_FORTIFY_SOURCE": {"fortified, 3"},
    "-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2": {"fortified, 3"},
}


@pytest.fixture(scope="module", autouse=True)
def has_tools(require):
    require(hardening.missing())


@pytest.fixture(scope="module", name="flags")
def makefile_flags():
    """What the Makefile gives the compiler, and in its last call the linker."""
    text = subprocess.run(["make", "--dry-run", "--always-make", "V=1", "all"], cwd=ROOT, check=True,
                          capture_output=True, text=True,
                          env={"PATH": os.environ["PATH"]}).stdout
    compiled = next(line for line in text.splitlines() if line.endswith("src/buf.c"))
    linked = next(line for line in text.splitlines() if " -o build/bakrypt-login " in line)
    wanted = ("-f", "-O", "-pie", "-Wl", "-D_FORTIFY", "-U_FORTIFY")
    return [word for word in [*shlex.split(compiled), *shlex.split(linked)]
            if word.startswith(wanted)]


def build(folder, flags):
    (folder / "sample.c").write_text(CODE)
    subprocess.run(["cc", *flags, "-o", folder / "sample", folder / "sample.c"], check=True)
    return folder / "sample"


@pytest.mark.skipif(os.environ.get("BAKRYPT_LOGIN_SANITIZED") == "1",
                    reason="it is built for finding faults")
def test_program():
    assert not hardening.gaps(program.binary())


def test_sample_with_the_same_flags(tmp_path, flags):
    assert not hardening.gaps(build(tmp_path, flags), SAMPLE)


@pytest.mark.parametrize("spoiler", SPOILERS)
def test_each_property_is_seen_to_be_missing(tmp_path, flags, spoiler):
    """Or the tests above would prove nothing."""
    spoiled = build(tmp_path, [*flags, *spoiler.split()])
    assert hardening.gaps(spoiled, SAMPLE) == SPOILERS[spoiler]
