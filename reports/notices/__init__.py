"""Short messages: chat cards, notice mails, MIME."""
