-- Lost: the views that people kept.

DROP TABLE config.console_view;
