"""The values of the KPIs, their breakdowns, cost efficiency and routing baselines."""
