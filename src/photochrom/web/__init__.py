"""The web page and the HTTP API: `photochrom web`.

`app.py` builds the application; `page.py`, `api.py` and `api_reference.py` define its routes.
`service.py` owns the worker processes (`tasks.py`), their queues (`job_queue.py`) and the sessions
(`sessions.py`).
"""
