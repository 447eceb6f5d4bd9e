-- Lost: the people who sign in to the console, their one-time passwords and sessions.

DROP TABLE config.console_session, config.console_recovery_code, config.console_user;
