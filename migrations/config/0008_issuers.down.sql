-- Lost: the OpenID providers that organizations trust, and who of theirs is who here.

DROP TABLE config.oidc_link, config.oidc_issuer;
