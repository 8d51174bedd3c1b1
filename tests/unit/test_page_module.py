"""deploy/page/bakrypt-login.js under node: tests/unit/page_module.mjs."""
import os
import pathlib
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent


def test_module(require):
    node = shutil.which("node")
    require(None if node else "nodejs is not installed")
    tests = (HERE / "page_module.mjs").read_text(encoding="utf-8").count('\ntest("')
    done = subprocess.run([node, "--test", "--test-reporter=tap", HERE / "page_module.mjs"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                          check=False, env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"})
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert tests > 10 and said.count("\nok ") + said.count("\n    ok ") >= tests, said
