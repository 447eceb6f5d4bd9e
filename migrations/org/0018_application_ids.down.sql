-- Lost: nothing. The ids stay, and older programs know them.
SELECT;
