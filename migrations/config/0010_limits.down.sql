-- Lost: which access tokens were sent without encryption. Those that have not expired are accepted again.

DROP FUNCTION config.forget_exposed_tokens();
DROP TABLE config.token_exchange, config.exposed_token;
DROP INDEX config.failed_sign_in_last_on;
