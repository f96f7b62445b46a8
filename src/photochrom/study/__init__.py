"""Perceptual studies: people are shown pictures and say which are real and which are generated.

`creation.py` makes a study (`design.py`). `app.py` shows it to people, in the order that
`trials.py` plans, and `store.py` stores their answers (`answers.py`). `exclusion.py` decides whose
answers count, `analysis.py` computes `results.py` with `statistics.py`; `report.py` writes them.
"""
