"""Can people tell? Pictures are shown to people, who say which are real and which generated.

`making.py` makes a study, `app.py` shows it to people, `store.py` keeps what they said, and
`report.py` says what came out.
"""
