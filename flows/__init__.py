"""The sentences: one short flow a schedule, which reads as the process."""
