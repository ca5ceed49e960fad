"""Runs a statement on an embedded database, and prints the one value that it answers."""

import os
import sqlite3

with sqlite3.connect(os.environ["DATABASE"], timeout=30) as database:
    print(database.execute(os.environ["STATEMENT"]).fetchone()[0])
