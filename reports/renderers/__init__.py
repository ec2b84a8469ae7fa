"""From blocks to HTML, PDF, CSV, JSON, Markdown, e-mail and webhook body."""
