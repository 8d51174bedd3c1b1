"""deploy/page/bakrypt-login.js under node: tests/unit/page_module.mjs."""
import os
import pathlib
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
MODULE = pathlib.Path("deploy/page/bakrypt-login.js")


def test_module(require, tmp_path):
    node = shutil.which("node")
    require(None if node else "nodejs is not installed")
    tests = (HERE / "page_module.mjs").read_text(encoding="utf-8").count('\ntest("')
    # Where a package.json says what a browser knows by the script's type: that it is a module.
    page, unit = tmp_path / MODULE.parent, tmp_path / "tests" / "unit"
    page.mkdir(parents=True)
    unit.mkdir(parents=True)
    shutil.copy(HERE.parents[1] / MODULE, page)
    (page / "package.json").write_text('{"type": "module"}\n', encoding="ascii")
    shutil.copy(HERE / "page_module.mjs", unit)
    done = subprocess.run([node, "--test", "--test-reporter=tap", unit / "page_module.mjs"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                          check=False, env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"})
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert tests > 10 and said.count("\nok ") + said.count("\n    ok ") >= tests, said
