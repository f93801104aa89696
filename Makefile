# matview_refresh: build with "make", install with "make install".
# Another server: make PG_CONFIG=/path/to/pg_config

PG_CONFIG ?= pg_config

MODULE_big = matview_refresh
OBJS = matview_refresh.o $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))

EXTENSION = matview_refresh
DATA = matview_refresh--1.0.sql
PGFILEDESC = "matview_refresh - keeps materialized views fresh"

# The server's own headers are not held to -Wextra: system headers they are.
PG_CPPFLAGS = -I$(srcdir)/src -isystem $(shell $(PG_CONFIG) --includedir-server)
PG_CFLAGS = -Wall -Wextra -Werror

REGRESS = $(sort $(patsubst sql/%.sql,%,$(wildcard sql/*.sql)))
ISOLATION = $(sort $(patsubst specs/%.spec,%,$(wildcard specs/*.spec)))
ISOLATION_OPTS = --load-extension=matview_refresh
TAP_TESTS = 1

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# PGXS tracks no header dependencies in the packaged builds.
$(OBJS): $(wildcard src/*.h)
