"""The manual page and the example of the settings file say what the code does."""
import os
import pathlib
import re
import shutil
import subprocess

from servers import program, source

ROOT = pathlib.Path(__file__).resolve().parents[2]
MANUAL = ROOT / "deploy" / "bakrypt-login.8"
EXAMPLE = ROOT / "deploy" / "bakrypt-login.conf"

# About the machine that looks, not about the page.
ABOUT_THE_MACHINE = ("referenced manual not found", "outdated mandoc.db")


def section(title):
    """The lines of a section, as they stand in the source."""
    text = MANUAL.read_text(encoding="ascii").partition(f"\n.Sh {title}\n")[2]
    assert text, f"there is no section {title}"
    return text.partition("\n.Sh ")[0]


def items(title, macro):
    """{what stands after ".It macro": the text below it} of a section's lists."""
    parts = re.split(r"^\.It ", section(title), flags=re.M)[1:]
    heads = (part.partition("\n") for part in parts)
    return {head.removeprefix(f"{macro} "): text.partition("\n.El")[0]
            for head, _, text in heads if head.startswith(f"{macro} ")}


def names(title, macro):
    """The names of a section's items, where one item may have several: "a , b"."""
    return {name for head in items(title, macro) for name in head.split(" , ")}


def test_mandoc_finds_nothing(require):
    require(None if shutil.which("mandoc") else "mandoc is not installed")
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "style", MANUAL], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found = [line for line in done.stdout.splitlines()
             if not any(words in line for words in ABOUT_THE_MACHINE)]
    assert not found


def test_sections():
    titles = re.findall(r"^\.Sh (.+)$", MANUAL.read_text(encoding="ascii"), flags=re.M)
    assert titles == ["NAME", "SYNOPSIS", "DESCRIPTION", "SIGNALS", "ENVIRONMENT", "FILES",
                      "EXIT STATUS", "EXAMPLES", "DIAGNOSTICS", "SEE ALSO", "STANDARDS",
                      "SECURITY CONSIDERATIONS"]


def test_options():
    told = {}
    for head in items("DESCRIPTION", "Fl"):
        name, _, argument = head.partition(" Ar ")
        told[name.removeprefix("-")] = argument.upper()
    assert told == source.options()
    for name in source.options():
        assert f"-{name}" in section("SYNOPSIS")


def test_settings():
    texts = {name: text for name, text in items("ENVIRONMENT", "Ev").items()
             if name.startswith("BAKRYPT_")}
    assert set(texts) == set(source.settings())
    assert len(texts) > 10
    for name, setting in source.settings().items():
        text = texts[name].replace("\n", " ")
        told = re.search(r"The default is (\S+)\.(?: |$)", text)
        assert (told.group(1) if told else "-") == setting.default, name
        limits = re.search(r"from (\d+) to (\d+)", text)
        assert (limits.groups() if limits else None) == setting.limits, name


def test_exit_statuses():
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").glob("*.c"))
    coded = {str(getattr(os, name)) for name in re.findall(r"\bEX_[A-Z]+\b", code)}
    coded |= set(re.findall(r"^#define REFUSED (\d+)$", code, flags=re.M))
    assert set(re.findall(r"^\.It (\d+)$", section("EXIT STATUS"), flags=re.M)) == coded


def test_signals():
    text = (ROOT / "src" / "service.c").read_text(encoding="utf-8")
    caught = re.search(r" signals\[\] = \{(.*?), 0\}", text).group(1).split(", ")
    assert len(caught) > 3
    assert names("SIGNALS", "Dv") == set(caught)


def test_events():
    assert names("DIAGNOSTICS", "Li") == source.events()


def test_statuses_of_events():
    """Each event's text begins with the statuses of its rows in fault.h."""
    texts = items("DIAGNOSTICS", "Li")
    coded = {}
    for fault in source.faults().values():
        coded.setdefault(fault.event, set()).add(str(fault.status))
    for event, statuses in coded.items():
        if event != "client_abort":  # its 499 is never sent
            assert set(re.findall(r"\d{3}", texts[event].partition(":")[0])) == statuses, event


# The example of the settings file

def example():
    """{setting: value} of the example, where every setting is commented out."""
    lines = EXAMPLE.read_text(encoding="ascii").splitlines()
    assert all(line.startswith("#") or not line for line in lines)
    return dict(line[1:].split("=", 1) for line in lines if line.startswith("#BAKRYPT_"))


def test_example_has_every_setting():
    coded = {name: setting for name, setting in source.settings().items()
             if name != "BAKRYPT_CONFIG"}  # which has no place in a file
    assert set(example()) == set(coded)
    for name, setting in coded.items():
        assert setting.default in ("-", example()[name])


def test_example_without_its_comment_signs(tmp_path):
    """The values that stand there are good; those left empty, and the second of each pair, are
    the operator's to give."""
    lines = [f"{name}={value}\n" for name, value in example().items()
             if value and name != "BAKRYPT_TOKEN_URL"]
    path = tmp_path / "settings"
    path.write_text("".join(lines), encoding="ascii")
    done = program.run_once("--check", "--offline", "--config", path, settings={
        "BAKRYPT_CLIENT_ID": "an-id", "BAKRYPT_CLIENT_SECRET": "a-secret"})
    assert done.returncode == 0, done.stdout
    assert "testnet" in done.stdout
