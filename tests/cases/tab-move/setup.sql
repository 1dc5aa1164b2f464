DROP ACCESS METHOD IF EXISTS other_heap CASCADE;
CREATE ACCESS METHOD other_heap TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE orders (id bigint PRIMARY KEY, tenant text);
