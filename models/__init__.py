"""The nouns: tables, settings, periods and result objects. They know nobody else in the house."""
