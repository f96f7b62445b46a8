"""A page that colorizes for people, and an HTTP API that does for programs: `photochrom web`.

`app.py` puts it together, `page.py` and `api.py` are its two faces, `tasks.py` is what its
processes do, `line.py` who waits for them, `albums.py` what is kept for whom and for how long, and
`guard.py` what no request gets past.
"""
