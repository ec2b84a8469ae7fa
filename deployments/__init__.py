"""How a run gets started: the command line, the timetable, the demo."""
