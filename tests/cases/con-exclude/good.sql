CREATE TABLE bookings_2 (id bigint PRIMARY KEY, during tsrange, EXCLUDE USING gist (during WITH &&));
