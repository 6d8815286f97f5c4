"""Runs the confluent-kafka driver under the Python that has the old release.

Each call is one pickle on stdin (method, arguments) and one on stdout (whether it returned, what it came to).
"""

import pickle
import sys

from tests.support.confluent_driver import Confluent


def main() -> None:
    driver = Confluent()
    while True:
        try:
            method, arguments, named = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = (True, getattr(driver, method)(*arguments, **named))
        except Exception as error:
            answer = (False, error)
        try:
            message = pickle.dumps(answer)
        except (pickle.PicklingError, TypeError):
            message = pickle.dumps((False, RuntimeError(repr(answer[1]))))
        sys.stdout.buffer.write(message)
        sys.stdout.buffer.flush()


main()
