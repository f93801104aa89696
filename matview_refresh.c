/*
 * matview_refresh.c
 *		The door: settings and library initialization.
 *
 * Nothing here is needed for correctness: the library may be loaded by the
 * first call of one of its functions.  Then there are no background processes,
 * no DDL forms and no interception: these need shared_preload_libraries.
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "matview_refresh.h"

PG_MODULE_MAGIC;

int			mvr_history_limit = 100;
int			mvr_swap_timeout = 60000;
int			mvr_max_log_size = 1024 * 1024;
int			mvr_max_workers = 2;
int			mvr_min_interval = 100;
int			mvr_max_retry_delay = 300000;
bool		mvr_intercept_refresh = false;
int			mvr_in_place_from = 1000;

void		_PG_init(void);

void
_PG_init(void)
{
	DefineCustomIntVariable("matview.history_limit",
							"Number of past refreshes kept per materialized view.",
							"0 keeps no history.",
							&mvr_history_limit, 100, 0, 1000000,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("matview.swap_timeout",
							"How long a concurrent refresh goes on trying for the lock to swap in the new contents.",
							"When the time is over, the differing rows are written instead.",
							&mvr_swap_timeout, 60000, 0, INT_MAX,
							PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("matview.max_log_size",
							"Size of a change log from which a view left behind is recomputed at its next refresh.",
							"-1 lets a view hold back a change log of any size.",
							&mvr_max_log_size, 1024 * 1024, -1, MAX_KILOBYTES,
							PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("matview.max_workers",
							"Number of automatic refreshes that run at a time, in all databases together.",
							"Each takes one of max_worker_processes, and so does each database with a scheduler.",
							&mvr_max_workers, 2, 1, 1024,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("matview.min_interval",
							"Least time between two refreshes of a materialized view with policy on_change.",
							"What changes in between is refreshed at once.",
							&mvr_min_interval, 100, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("matview.max_retry_delay",
							"Longest time after which a materialized view whose automatic refresh fails is tried again.",
							"The delay begins with a second and doubles with each failure.",
							&mvr_max_retry_delay, 300000, 100, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomBoolVariable("matview.intercept_refresh",
							 "Runs REFRESH MATERIALIZED VIEW as matview.refresh().",
							 "Has no effect unless matview_refresh is in shared_preload_libraries.",
							 &mvr_intercept_refresh, false,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("matview.in_place_from",
							"Number of changes from which they are read where they stand, if they can be.",
							"For tests of that with few changes.",
							&mvr_in_place_from, 1000, 1, INT_MAX,
							PGC_USERSET, GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	MarkGUCPrefixReserved("matview");
	mvr_committing_init();
	mvr_in_transaction_init();
	mvr_delta_stats_init();
	mvr_delta_scan_init();
	if (!process_shared_preload_libraries_in_progress)
		return;
	mvr_shared_request();
	mvr_wake_init();
	mvr_utility_init();
	if (!IsBinaryUpgrade)
		mvr_launcher_register();
}
