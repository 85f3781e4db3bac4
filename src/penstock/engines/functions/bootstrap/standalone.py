"""AWS's runtime client in an interpreter of its own: what a wrapper script is given to run.

Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-modify.html#runtime-wrapper
"""

import os
import sys


def main() -> None:
    root = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    layers = [f"/opt/python/lib/{version}/site-packages", "/opt/python"]
    sys.path[:1] = [root, *layers, os.path.dirname(os.path.abspath(__file__))]
    os.chdir(root)
    from awslambdaric.__main__ import main as run  # noqa: PLC0415  # only now it can be found

    run([sys.argv[0], os.environ["_HANDLER"]])


if __name__ == "__main__":
    main()
