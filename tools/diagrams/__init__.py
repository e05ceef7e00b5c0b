"""The pictures in docs/diagrams/, as text: see tools/make_diagrams.py."""
