"""Can people tell? Pictures are shown to people, who say which are real and which generated.

`making.py` makes a study (`design.py`), `app.py` shows it to people, in the order that `trials.py`
plans, and `store.py` keeps what they said (`answers.py`). `counting.py` sees whose answers count,
`analysis.py` makes `results.py` of them with `statistics.py`, and `report.py` writes them down.
"""
