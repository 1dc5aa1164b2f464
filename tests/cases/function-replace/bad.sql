DROP FUNCTION short(text);
