-- Beside Routewatch's own database, which the image makes: Prefect's.
CREATE DATABASE prefect;
