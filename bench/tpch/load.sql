-- Fill the tables, at the scale factor that generate.sql was given.

INSERT INTO region SELECT * FROM generate.regions();
INSERT INTO nation SELECT * FROM generate.nations();
INSERT INTO supplier SELECT * FROM generate.suppliers(1, generate.rows_of(10000));
INSERT INTO part SELECT * FROM generate.parts(1, generate.rows_of(200000));
INSERT INTO partsupp SELECT * FROM generate.partsupps(1, generate.rows_of(200000));
INSERT INTO customer SELECT * FROM generate.customers(1, generate.rows_of(150000));
INSERT INTO lineitem SELECT * FROM generate.lineitems(0, generate.rows_of(1500000) - 1, 0);
INSERT INTO orders SELECT * FROM generate.orders(0, generate.rows_of(1500000) - 1, 0);
