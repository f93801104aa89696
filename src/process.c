/*
 * process.c
 *		What our background processes have in common.
 *
 * They connect as the bootstrap superuser, with the settings of the server,
 * the database and that role.  Some of those would break them, or make a
 * refresh depend on what somebody has set for himself; these are pinned.
 *
 * So is synchronous_commit.  A refresh that a crash has undone left the changes
 * in the logs and the frontier before them, and all views are looked at when
 * the server is back.  So there is no need to wait for the disk, nor for a
 * standby.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/procsignal.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "matview_refresh.h"

static bool was_reloaded = false;

static const struct
{
	const char *name;
	const char *value;
}			pinned[] = {
	{"role", "none"},
	{"search_path", "pg_catalog, pg_temp"},
	{"statement_timeout", "0"},
	{"transaction_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_deferrable", "off"},
	{"session_replication_role", "origin"},
	{"synchronous_commit", "off"},
	{"exit_on_error", "off"},
	{"row_security", "on"},
	{"restrict_nonsystem_relation_kind", ""}
};

static void
pin(const char *name, const char *value)
{
	if (GetConfigOption(name, true, false) != NULL)
		SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * SIGTERM ends a process at once where it can be interrupted.  In
 * mvr_process_wait it sees the flag first, and goes quietly.
 */
static void
handle_sigterm(SIGNAL_ARGS)
{
	ShutdownRequestPending = true;
	mvr_compat_die();
}

/* The handlers of a background process of ours; signals are unblocked */
void
mvr_process_set_signals(void)
{
	pqsignal(SIGTERM, handle_sigterm);
	pqsignal(SIGINT, StatementCancelHandler);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
}

/* Connect to a database, or with InvalidOid to none */
void
mvr_process_connect(Oid database, const char *lock_timeout)
{
	if (OidIsValid(database))
		BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	else
		BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	for (int i = 0; i < (int) lengthof(pinned); i++)
		pin(pinned[i].name, pinned[i].value);
	pin("lock_timeout", lock_timeout);
}

/*
 * False if there is no room for one more background worker now.  The handle is
 * to be freed by the caller.
 */
bool
mvr_process_register(const char *function, const char *name, const char *type,
					 int64 arg, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker = {0};
	MemoryContext old;
	bool		is_registered;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "matview_refresh", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, function, BGW_MAXLEN);
	strlcpy(worker.bgw_name, name, BGW_MAXLEN);
	strlcpy(worker.bgw_type, type, BGW_MAXLEN);
	worker.bgw_main_arg = Int64GetDatum(arg);
	worker.bgw_notify_pid = MyProcPid;
	old = MemoryContextSwitchTo(TopMemoryContext);
	is_registered = RegisterDynamicBackgroundWorker(&worker, handle);
	MemoryContextSwitchTo(old);
	return is_registered;
}

/* Have the configuration files been read again since this was asked? */
bool
mvr_process_take_reload(void)
{
	bool		result = was_reloaded;

	was_reloaded = false;
	return result;
}

/*
 * Wait for the latch, or until a time; DT_NOEND waits for the latch alone.
 * False if it was the time.  Does not return when told to end.
 *
 * Not longer than a minute: the time may jump, and then we should see it.
 */
bool
mvr_process_wait(TimestampTz until)
{
	long		timeout = 60000;
	int			events;

	if (!TIMESTAMP_NOT_FINITE(until))
		timeout = Min(timeout, TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until));
	events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					   timeout, PG_WAIT_EXTENSION);
	/* a process that is to be started again must not end in success */
	if (ShutdownRequestPending)
		proc_exit(MyBgworkerEntry->bgw_restart_time == BGW_NEVER_RESTART ? 0 : 1);
	ResetLatch(MyLatch);
	/* there is nothing to cancel, and no reason to end */
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		was_reloaded = true;
	}
	return (events & WL_LATCH_SET) != 0;
}
