"""The web page and the HTTP API: `photochrom web`.

`app.py` builds the application; `page.py`, `api.py` and `api_reference.py` have its routes.
`service.py` owns the worker processes (`tasks.py`), the queue before them (`job_queue.py`) and the
visitors' sessions (`sessions.py`). `guard.py` checks every request first.
"""
