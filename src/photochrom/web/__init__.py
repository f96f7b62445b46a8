"""A page that colorizes for people, and an HTTP API that does for programs: `photochrom web`.

`app.py` puts it together; `page.py` and `api.py` are its two faces. What they work with is in
`studio.py`: processes that do `tasks.py`, the `line.py` before them, and `albums.py`, what is kept
for whom and for how long. `guard.py` stands before everything.
"""
