"""What runs inside the sandbox: the interpreter's own side of level python-1.

Source: docs/sandbox.md. `io/runner_build.py` packs this folder and CPython into one WASM component.
Nothing else imports it, and it imports nothing else of dms3.
"""
