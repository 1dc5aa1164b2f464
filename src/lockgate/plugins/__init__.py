"""lockgate inside other programs: pytest, Django, Celery. Each module needs the program it is for, and is imported by it only."""
