/*
 * matview_refresh.h
 *		What the modules of matview_refresh promise each other.
 *
 * The sections stand in the order in which a change flows: from the base
 * table through the change log into a delta, from the delta through the
 * stage into the materialized view.  A module calls only modules whose
 * section stands above its own.
 *
 * Words used everywhere, each for one thing only:
 *
 *	view		the materialized view that is kept fresh
 *	base table	a table that the view's query reads
 *	change log	side table with the changes of one base table
 *	frontier	what a view has consumed of its change logs
 *	weight		+1 for a row that appeared, -1 for one that went; never other
 *	delta		rows with weights
 *	stage		one of the queries that the view's query becomes, maintained with
 *				its state table; the last is the view's own
 *	strategy	the way a stage is maintained: by rows, groups or keys, or not at all
 *	state		the table with what a stage by groups or by keys holds
 *	policy		when a view is refreshed by itself
 *	live view	one that is maintained by those who write its base tables, in
 *				their transactions: by policy on_statement or on_commit
 *	pending		changes that the running transaction has made, and that live
 *				views have not consumed yet
 *	scheduler	the process of a database that says which view is due
 *	worker		a process that runs the refreshes that a scheduler hands out
 */
#ifndef MATVIEW_REFRESH_H
#define MATVIEW_REFRESH_H

#include "postgres.h"

#include "access/transam.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "nodes/execnodes.h"
#include "nodes/parsenodes.h"
#include "port/atomics.h"
#include "postmaster/bgworker.h"
#include "storage/itemptr.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/queryenvironment.h"
#include "utils/rel.h"
#include "utils/snapshot.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "compat.h"

/* ----------
 * matview_refresh.c: settings
 * ----------
 */
extern int	mvr_history_limit;	/* rows of history kept per view */
extern int	mvr_swap_timeout;	/* ms to go on trying for the swap's lock */
extern int	mvr_max_log_size;	/* kB of log one view may hold back; -1 any */
extern int	mvr_max_workers;	/* refresh workers at a time, of all databases */
extern int	mvr_min_interval;	/* ms between two on_change refreshes of a view */
extern int	mvr_max_retry_delay;	/* ms after which a failing view is tried again */
extern bool mvr_intercept_refresh;	/* REFRESH MATERIALIZED VIEW is ours */
extern int	mvr_in_place_from;	/* so many rows are read where they stand */

/* ----------
 * shared.c: the shared memory of automatic refreshes
 *
 * There is none unless the library is preloaded: mvr_shared is NULL then, and
 * whatever would tell another process something does nothing.
 * ----------
 */
#define MVR_MAX_DIRTY		64	/* base tables named at once; beyond, all */
#define MVR_WATCH_WORDS		32	/* of 64 bits */

/* Where a refresh is */
typedef enum MvrPhase
{
	MVR_PHASE_NONE,				/* no refresh */
	MVR_PHASE_LOCK,				/* waits for the view's lock, analyzes the query */
	MVR_PHASE_READ,				/* reads the change logs */
	MVR_PHASE_APPLY,			/* applies the changes */
	MVR_PHASE_COMPARE,			/* runs the query, writes what differs */
	MVR_PHASE_REBUILD,			/* runs the query into a new heap */
	MVR_PHASE_SWAP,				/* builds indexes, waits for readers, swaps */
	MVR_PHASE_RECORD			/* trims the change logs, writes the history */
} MvrPhase;

/* One per backend.  Written by it alone, read by others without a lock. */
typedef struct MvrProgress
{
	MvrPhase	phase;
	int			pid;
	Oid			database;
	Oid			view;
	TimestampTz started;
	int64		done;			/* rows of the phase's query */
	int64		expected;		/* of them, by the planner; 0 if not known */
} MvrProgress;

typedef struct MvrCounters
{
	uint64		refreshes;		/* that a worker has completed */
	uint64		changed;		/* of them, those that had something to do */
	uint64		failures;
	uint64		wakeups;		/* of the scheduler */
	uint64		microseconds;	/* spent in refreshes */
} MvrCounters;

/* A database whose views are refreshed automatically, or may be */
typedef struct MvrDatabase
{
	Oid			database;		/* InvalidOid if the slot is free; set by the
								 * launcher, under the lock */
	slock_t		mutex;			/* protects all that follows, but "watch" */
	int			scheduler;		/* pid, 0 if there is none */
	Latch	   *latch;			/* the scheduler's */
	bool		is_settled;		/* the scheduler has looked */
	bool		has_extension;	/* what it has found */
	int			holder;			/* pid of a backend that wants our processes
								 * out of the database, or 0 */

	/* what has happened since the scheduler looked */
	bool		policies_changed;
	bool		catalog_changed;
	bool		all_dirty;		/* any base table may have changed */
	int			ndirty;
	Oid			dirty[MVR_MAX_DIRTY];

	bool		has_prepared;	/* a prepared transaction may have changes */
	bool		has_failed_worker;	/* one has ended before it was ready */
	uint64		starving;		/* 0, or the ticket that it drew when views were
								 * due and it had no worker; under the lock */
	MvrCounters counters;

	/*
	 * A bit for each relation whose writers should tell although nothing is
	 * captured.  Set by the scheduler, read without a lock, see wake.c.
	 */
	pg_atomic_uint64 watch[MVR_WATCH_WORDS];
} MvrDatabase;

/* How the last refresh by a worker went */
typedef struct MvrRun
{
	Oid			view;
	TimestampTz started;
	TimestampTz finished;
	int			failures;		/* in a row */
	int			sqlstate;		/* of the last failure, 0 after success */
	TimestampTz retry_at;		/* if failures > 0 */
} MvrRun;

typedef enum MvrWorkerState
{
	MVR_WORKER_FREE,
	MVR_WORKER_STARTING,		/* reserved by a scheduler */
	MVR_WORKER_IDLE,			/* waits for a view */
	MVR_WORKER_BUSY,			/* has one */
	MVR_WORKER_DONE				/* has finished it, "run" says how */
} MvrWorkerState;

/* A refresh worker, or room for one; protected by the lock */
typedef struct MvrWorker
{
	MvrWorkerState state;
	Oid			database;
	int			generation;		/* of the slot's use: who comes late goes */
	int			pid;			/* 0 until it is there */
	Latch	   *latch;
	int			scheduler;		/* pid of the one that has handed it the view */
	bool		has_worked;		/* so it may go if another database starves */
	bool		is_dismissed;	/* a scheduler needs its place */
	Oid			view;
	bool		is_gone;		/* the view, or its policy */
	bool		is_changed;		/* there was something to do */
	bool		is_undone;		/* for the view had been paused meanwhile */
	bool		is_rewritten;	/* its tracking may not be as it was */
	MvrRun		run;
} MvrWorker;

typedef struct MvrShared
{
	LWLock	   *lock;
	uint64		tickets;		/* drawn so far; under the lock */
	bool		lacks_scheduler;	/* a database, for want of a process; ditto */
	Oid			lacks_worker;	/* a database, and there is none anywhere; ditto */
	slock_t		mutex;			/* protects what follows */
	Latch	   *launcher;
	bool		databases_changed;	/* look at pg_database again */
	Oid			probe;			/* got the extension; or InvalidOid */
	bool		probe_all;		/* more than one did */
	TimestampTz ready_at;		/* when the first launcher was there, or 0 */
	int			crashes;		/* of the server, in a row; does not change */
} MvrShared;

extern MvrShared *mvr_shared;
extern MvrDatabase *mvr_databases;
extern MvrWorker *mvr_workers;
extern int	mvr_nslots;			/* of databases, and of workers */
extern MvrProgress *mvr_progress_slots; /* by the place of a PGPROC */
extern int	mvr_nprogress;

extern void mvr_shared_request(void);
extern MvrDatabase *mvr_shared_lookup_database(Oid database);
extern void mvr_shared_wake(MvrDatabase *db);
extern void mvr_shared_wake_launcher(void);
extern bool mvr_shared_is_held(MvrDatabase *db);
extern bool mvr_shared_is_other_starving(Oid database, uint64 ticket);
extern void mvr_shared_wake_starving(void);
extern bool mvr_shared_dismiss_worker(void);
extern void mvr_shared_set_lacks_scheduler(bool lacks);
extern void mvr_shared_ask_for_worker(Oid database);
extern Oid	mvr_shared_take_lacking_worker(void);
extern int	mvr_shared_count_workers(void);
extern void mvr_shared_terminate_workers(Oid database);

/* ----------
 * progress.c: where the refresh of this backend is
 * ----------
 */
extern void mvr_progress_begin(Oid view);
extern void mvr_progress_set_phase(MvrPhase phase);
extern void mvr_progress_expect(double rows);
extern void mvr_progress_count(void);
extern void mvr_progress_end(void);

/* ----------
 * wake.c: tell the scheduler, at commit, what a transaction has done
 * ----------
 */
extern void mvr_wake_init(void);
extern void mvr_wake_note_captured(Oid base);
extern void mvr_wake_note_written(Oid relid);
extern void mvr_wake_note_policies(void);
extern void mvr_wake_note_catalog(void);
extern void mvr_wake_note_all(void);
extern void mvr_wake_note_extension(void);
extern void mvr_wake_note_databases(void);
extern void mvr_wake_now(void);
extern uint64 mvr_wake_hash(Oid relid);

/* ----------
 * view.c: the view that an SQL function was called for
 * ----------
 */
extern Oid	mvr_view_get_argument(FunctionCallInfo fcinfo);
extern const char *mvr_view_get_command(FunctionCallInfo fcinfo);
extern void mvr_view_check(Oid view);
extern Relation mvr_view_open(Oid view, LOCKMODE lockmode);
extern Oid	mvr_view_get_file(Oid view);
extern void mvr_view_check_may_write(const char *command);
extern void mvr_view_check_unused(Relation view);
extern int	mvr_view_become_owner(Relation view, Oid *save_userid,
								  int *save_context);
extern void mvr_view_forget_plans(void);
extern void mvr_view_become_again(int level, Oid userid, int context);

/* ----------
 * catalog.c: the registry tables as structs
 *
 * The registry is read with a fresh snapshot whatever the isolation level of
 * the caller: what a refresh has committed must be known to the next one.
 * ----------
 */

/*
 * What a view has consumed: the log rows that "snapshot" sees, but of
 * transaction own_xid (the one that stored the frontier, which could go on
 * writing) only those with a command id below own_cid.
 */
typedef struct MvrFrontier
{
	bool		valid;			/* false: contents unknown, recompute */
	Datum		snapshot;		/* pg_snapshot */
	FullTransactionId xmin;		/* of snapshot: all before it are consumed */
	FullTransactionId xmax;		/* of snapshot: none from here on is */
	FullTransactionId own_xid;
	CommandId	own_cid;
} MvrFrontier;

/* A base table as one view uses it */
typedef struct MvrSource
{
	Oid			base;
	Oid			log;
	Bitmapset  *columns;		/* attribute numbers that the view needs */
	int64		shape;			/* mvr_capture_shape() at the frontier */
} MvrSource;

/* A registry row, with its sources */
typedef struct MvrTracked
{
	Oid			view;
	List	   *states;			/* oids of the state tables, in order of stages */
	Oid			file;			/* relfilenode the contents were left in */
	int64		query_hash;		/* of the expanded query */
	MvrFrontier frontier;		/* of a live view: whether its contents are right,
								 * and who has written them last */
	char		live;			/* MVR_LIVE_... */
	List	   *settings;		/* of a live view: "name=value" as it is computed */
	List	   *sources;		/* of MvrSource, by base */
} MvrTracked;

#define MVR_LIVE_NOT		'\0'
#define MVR_LIVE_STATEMENT	's'	/* maintained when a statement ends */
#define MVR_LIVE_COMMIT		'c'	/* when the transaction does */

/* A registry row about a base table, or a view that others stand on */
typedef struct MvrLogRow
{
	Oid			log;
	bool		is_logged;		/* changes go to the log: a view needs it that is
								 * not live */
	bool		is_live;		/* the triggers for live views are wanted */
} MvrLogRow;

extern Oid	mvr_catalog_get_namespace(void);
extern bool mvr_catalog_is_installed(void);
extern bool mvr_catalog_is_complete(void);
extern Oid	mvr_catalog_get_owner(void);
extern MvrTracked *mvr_catalog_lookup_view(Oid view);
extern void mvr_catalog_store_view(const MvrTracked *tracked, bool with_sources);
extern void mvr_catalog_touch_view(const MvrTracked *tracked);
extern void mvr_catalog_delete_view(Oid view);
extern List *mvr_catalog_list_views(Oid base);
extern List *mvr_catalog_list_live(void);
extern List *mvr_catalog_list_bases(void);
extern List *mvr_catalog_list_unread(void);
extern Oid	mvr_catalog_lookup_log(Oid base);
extern bool mvr_catalog_lookup_log_row(Oid base, MvrLogRow *row);
extern void mvr_catalog_store_log(Oid base, const MvrLogRow *row);
extern void mvr_catalog_delete_log(Oid base);
extern void mvr_catalog_append_history(Oid view, const char *mode,
									   const char *reason, int64 inserted,
									   int64 updated, int64 deleted,
									   int64 changes, TimestampTz started);
extern int64 mvr_catalog_lookup_last_diff(Oid view);
extern void mvr_catalog_delete_history(Oid view);
extern void mvr_catalog_ensure_mark(Relation rel);
extern void mvr_catalog_own_by_extension(Oid classid, Oid objid);
extern Oid	mvr_catalog_create_table(const char *name, Oid tablespace, TupleDesc desc,
									 Datum options, Oid about);

extern MvrFrontier mvr_frontier_here(void);
extern bool mvr_frontier_covers(const MvrFrontier *frontier,
								FullTransactionId xid, CommandId cid);
extern bool mvr_frontier_is_visible(const MvrFrontier *frontier);
extern bool mvr_frontier_is_now(void);

/* ----------
 * image.c: binary images of values
 * ----------
 */
extern uint64 mvr_image_hash(Datum value, bool isnull, Form_pg_attribute att, uint64 seed);
extern bool mvr_image_is_same(Datum a, Datum b, Form_pg_attribute att);

/* ----------
 * zset.c: collect rows with weights, hand out what is left of them
 *
 * A row is compared by its binary image, since users see the difference
 * between values that "=" calls equal, and some types have no "=".
 * ----------
 */
typedef struct MvrZset MvrZset;

/* What became of a row */
typedef enum MvrRowChange
{
	MVR_ROW_SAME,				/* as many went as appeared: "old" stays */
	MVR_ROW_INSERTED,
	MVR_ROW_UPDATED,			/* "old" becomes "row", with the same key */
	MVR_ROW_DELETED
} MvrRowChange;

typedef struct MvrZsetRow
{
	MvrRowChange change;
	TupleTableSlot *row;		/* what appeared, then its payload; or NULL */
	TupleTableSlot *old;		/* what went; or NULL */
	ItemPointerData tid;		/* where "old" stands, if it was known */
} MvrZsetRow;

extern MvrZset *mvr_zset_begin(TupleDesc row, TupleDesc payload,
							   int nkeys, const AttrNumber *keys);
extern void mvr_zset_put(MvrZset *zset, TupleTableSlot *row, int weight,
						 ItemPointer tid, TupleTableSlot *payload);
extern bool mvr_zset_next(MvrZset *zset, MvrZsetRow *result);
extern void mvr_zset_end(MvrZset *zset);
extern int64 mvr_zset_hash(TupleTableSlot *slot, int natts,
						   const AttrNumber *attnos);
extern bool mvr_zset_is_same(TupleTableSlot *a, TupleTableSlot *b, int natts);

/* ----------
 * change_log.c: remember what changed in a base table
 * ----------
 */

/* The fixed columns of a change log; then c<attnum> for each logged column */
#define MVR_LOG_XID			1	/* xid8: the writer's top-level transaction */
#define MVR_LOG_CID			2	/* cid: its command */
#define MVR_LOG_WEIGHT		3	/* int4: +1, -1; 0 is a rebuild mark */
#define MVR_LOG_PACK		4	/* bytea: or many rows, see pack.c */
#define MVR_LOG_FIXED		4

/*
 * Rows that are read where they stand, each scan from the start.  "next" hands
 * out one in a virtual slot, where it stays until the next call; NULL at the end.
 */
typedef struct MvrRowSource MvrRowSource;

struct MvrRowSource
{
	void	   *(*begin) (MvrRowSource *source);
	TupleTableSlot *(*next) (void *scan);
	void		(*end) (void *scan);
};

/* The changes of one base table, or of one stage, that are new to one view */
typedef struct MvrDelta
{
	Oid			base;
	struct MvrStage *stage;		/* whose changes these are, or NULL */
	char	   *name;			/* as ephemeral named relation */
	Tuplestorestate *rows;
	MvrRowSource *source;		/* or where they are; else NULL */
	TupleDesc	desc;			/* the view's columns by attnum, weight, place */
	AttrNumber *attmap;			/* base attnum - 1 -> column here, or 0 */
	int			natts;			/* length of attmap */
	AttrNumber	weight;			/* column here */
	AttrNumber	place;			/* column here, of a stage: tid of a new row */

	/* which rows appeared, for dependent parts; see identify.c */
	Bitmapset  *identity;		/* attnums that tell rows apart, or NULL */
	char	   *places_name;	/* else: tableoid and ctid of the rows, as relation */
	TupleDesc	places_desc;
	Tuplestorestate *places;
	int64		nplaces;

	/* of rows that are not here yet, at most so many */
	int64		nrows;
	int64		ngone;			/* of them, those that went */
	int64		nread;			/* before they were netted */
	bool		is_net;			/* no row in it has appeared and gone */
	bool		has_passing;	/* rows may have: several commands wrote them */
	bool	   *nulls;			/* per column: has it a NULL?  NULL: not known */
	struct MvrDeltaStats *stats;	/* see delta_stats.c; NULL until asked for */
} MvrDelta;

/* ----------
 * delta.c: the rows that are new to a view, each with its weight
 * ----------
 */
extern TupleDesc mvr_delta_build_desc(Relation base, Bitmapset *columns);
extern MvrDelta *mvr_delta_make(Relation base, const MvrSource *source);
extern void mvr_delta_collect(MvrDelta *delta, MvrRowSource *source);
extern void mvr_delta_count(MvrDelta *delta);
extern void mvr_delta_net(MvrDelta *delta);
extern void mvr_delta_net_if_worth_it(MvrDelta *delta);
extern void mvr_delta_end(List *deltas);
extern void mvr_swap_slots(TupleTableSlot **a, TupleTableSlot **b);

/* The weight of a row of a delta of a base table */
static inline int
mvr_delta_get_weight(TupleTableSlot *row)
{
	bool		isnull;

	return DatumGetInt32(slot_getattr(row, row->tts_tupleDescriptor->natts, &isnull));
}

/* ----------
 * statement_rows.c: the rows of a statement, in its transition tables
 * ----------
 */

/* A statement whose AFTER trigger runs, with its transition tables */
typedef struct MvrStatement
{
	TupleDesc	desc;			/* of the rows */
	Tuplestorestate *rows[2];	/* old, new; or NULL */
	const AttrNumber *columns;	/* per column of the log, column of the rows */
} MvrStatement;

extern bool mvr_statement_is_same(TupleTableSlot *a, TupleTableSlot *b,
								  const AttrNumber *columns, int ncolumns);
extern MvrRowSource *mvr_statement_make_source(const MvrStatement *statement, TupleDesc desc,
											   const AttrNumber *map);

/* ----------
 * pending.c: what this transaction has changed, for live views
 * ----------
 */

/* A live view, as those see it who write one of its base tables */
typedef struct MvrLiveView
{
	Oid			view;
	char		live;			/* MVR_LIVE_... */
	List	   *bases;			/* all that it reads */
	TupleDesc	desc;			/* of its delta of this base table */
	AttrNumber *map;			/* per column, the column of the log */
	bool		is_narrower;	/* the log has columns that it does not need */
	bool		is_lost;		/* columns that it needs have gone: no rows for it */
} MvrLiveView;

/* What a session keeps about a base table, or about a view */
typedef struct MvrBase
{
	Oid			base;
	bool		is_valid;
	MvrLogRow	row;			/* log is InvalidOid if nobody reads its changes */
	List	   *views;			/* of MvrLiveView */
	List	   *settings;		/* of a live view itself, as in MvrTracked */
	MemoryContext context;
} MvrBase;

/* Rows of one base table for one live view; private */
typedef struct MvrPending MvrPending;

extern void (*mvr_pending_statement_hook) (void);

extern void mvr_pending_begin_statement(Oid base);
extern void mvr_pending_end_statement(Oid base);
extern void mvr_pending_end_unfinished(void);
extern bool mvr_pending_has_unfinished(void);
extern void mvr_pending_apply(void);
extern bool mvr_pending_is_in_flight(List *bases);
extern List *mvr_pending_begin_put(const MvrBase *base, const MvrStatement *statement);
extern void mvr_pending_put(MvrPending *pending, CommandId cid, const Datum *values,
							const bool *nulls, int weight);
extern void mvr_pending_mark(Oid view, char live, List *bases);
extern void mvr_pending_mark_all(const MvrBase *base);
extern bool mvr_pending_is_any(void);
extern int64 mvr_pending_count(Oid view);
extern bool mvr_pending_is_any_of(Oid view);
extern Oid	mvr_pending_next_view(bool at_commit, bool (*is_before) (Oid a, Oid b));
extern List *mvr_pending_list_bases(Oid view);
extern List *mvr_pending_list_views(void);
extern List *mvr_pending_list_deferred(void);
extern bool mvr_pending_is_marked(Oid view);
extern MvrDelta *mvr_pending_take(Relation base, const MvrSource *source, Oid view,
								  bool in_place);
extern void mvr_pending_forget(Oid view);
extern void mvr_pending_forget_all(void);

/* ----------
 * pack.c: many rows of a change log in one
 * ----------
 */
typedef struct MvrPack MvrPack;
typedef struct MvrPackReader MvrPackReader;

typedef enum MvrPackPut
{
	MVR_PACK_DONE,
	MVR_PACK_FULL,				/* no room: write the pack, clear it, put again */
	MVR_PACK_ALONE				/* the row cannot be packed */
} MvrPackPut;

extern MvrPack *mvr_pack_begin(TupleDesc log);
extern void mvr_pack_clear(MvrPack *pack);
extern MvrPackPut mvr_pack_put(MvrPack *pack, const Datum *values, const bool *nulls,
							   int weight);
extern bytea *mvr_pack_get(MvrPack *pack);
extern MvrPackReader *mvr_pack_begin_read(TupleDesc log, AttrNumber ncolumns);
extern void mvr_pack_end_read(MvrPackReader *reader);
extern void mvr_pack_open(MvrPackReader *reader, bytea *pack);
extern bool mvr_pack_next(MvrPackReader *reader, Datum *values, bool *nulls,
						  int *weight);
extern int64 mvr_pack_count(bytea *pack);

/* ----------
 * log_writer.c: append to a change log
 * ----------
 */
typedef struct MvrLogWriter
{
	Relation	log;
	bool		is_logged;		/* rows go to the log itself */
	List	   *pending;		/* of MvrPending: and to live views */
	const AttrNumber *source;	/* per column of the log, column of the rows */
	AttrNumber	last;			/* highest of them */
	bool		has_appended;
	CommandId	cid;
	Datum	   *values;			/* a row of the log */
	bool	   *nulls;
	MvrPack    *pack;			/* NULL: row by row */
} MvrLogWriter;

extern void mvr_log_writer_begin(MvrLogWriter *writer, const MvrBase *base,
								 Relation log, const AttrNumber *source,
								 int64 nrows, const MvrStatement *statement);
extern bool mvr_log_writer_wants_rows(const MvrLogWriter *writer);
extern void mvr_log_writer_append(MvrLogWriter *writer, TupleTableSlot *row,
								  int weight);
extern void mvr_log_writer_end(MvrLogWriter *writer);
extern void mvr_log_writer_append_mark(const MvrBase *base);

/* ----------
 * log_reader.c: scan a change log
 * ----------
 */
typedef struct MvrLogScan
{
	TableScanDesc scan;
	TupleTableSlot *slot;		/* the row */
	TupleTableSlot *other_slot;
	MvrPackReader *reader;		/* of the pack in it */
	TupleTableSlot *unpacked;	/* a row of that */
	TupleTableSlot *other_unpacked;
	List	   *frontiers;		/* of MvrFrontier */
	FullTransactionId xid;		/* who wrote the row */
	CommandId	cid;
	bool		is_covered;		/* true with no frontiers */
	int			nwriters;		/* of rows not covered: 0, 1, or 2 for several */
	FullTransactionId new_xid;	/* the first of them */
	CommandId	new_cid;
} MvrLogScan;

extern void mvr_log_reader_begin(MvrLogScan *scan, Relation log, AttrNumber ncolumns,
								 List *frontiers, Snapshot snapshot);
extern bool mvr_log_reader_fetch(MvrLogScan *scan);
extern bool mvr_log_reader_fetch_new(MvrLogScan *scan);
extern bytea *mvr_log_reader_get_pack(MvrLogScan *scan);
extern TupleTableSlot *mvr_log_reader_fetch_unpacked(MvrLogScan *scan);
extern void mvr_log_reader_end(MvrLogScan *scan);

/* ----------
 * change_log.c, on
 * ----------
 */
extern Oid	mvr_change_log_ensure(Relation base, Bitmapset *columns, bool is_logged);
extern void mvr_change_log_drop(Oid base);
extern AttrNumber mvr_change_log_get_attnum(TupleDesc log, AttrNumber attno);
extern bool mvr_change_log_can_hold(Form_pg_attribute log,
									Form_pg_attribute base);
extern void mvr_change_log_trim(Oid base);
extern int64 mvr_change_log_count(Oid log, const MvrFrontier *frontier);
extern int64 mvr_change_log_measure(Oid log, const MvrFrontier *frontier);
extern AttrNumber *mvr_change_log_build_map(Relation log, Relation base,
											Bitmapset *columns);

/* ----------
 * log_delta.c: what a change log tells one view
 * ----------
 */
extern MvrDelta *mvr_log_delta_read(Relation base, const MvrSource *source,
									const MvrFrontier *frontier, bool in_place,
									bool *marked);

/* ----------
 * live.c: which live views read a base table
 * ----------
 */

extern const MvrBase *mvr_live_get_base(Oid base);
extern List *mvr_live_list_bases_above(List *views);
extern int	mvr_live_become_owner(Relation view, Oid *save_userid,
								  int *save_context);

/* ----------
 * trigger.c: append to the change log what was changed
 * ----------
 */
extern const AttrNumber *mvr_trigger_get_map(Relation rel, Relation log, Oid base);

/* ----------
 * chain.c: materialized views that stand on others
 * ----------
 */
extern const char *mvr_chain_refusal(Relation view);
extern int64 mvr_chain_shape(Relation view);
extern List *mvr_chain_list(Oid view);
extern List *mvr_chain_list_read(Oid view, int *depth);

/* ----------
 * members.c: the tables that the rows of a base table are in
 * ----------
 */
extern List *mvr_members_list(Relation base, LOCKMODE lockmode);
extern const char *mvr_members_refusal_of(Relation rel);
extern const char *mvr_members_refusal(Relation base);
extern SysScanDesc mvr_scan_by_oid(Relation catalog, Oid index, AttrNumber attno,
								   Oid value);
extern bool mvr_members_need_row_capture(List *members);
extern bool mvr_members_see_statements(Relation base);

/* ----------
 * capture.c: see to it that every change gets into the change log
 * ----------
 */
extern bool mvr_capture_arm(Relation base, Oid log);
extern void mvr_capture_lock(Relation base);
extern void mvr_capture_arm_live(Relation base, Oid log);
extern bool mvr_capture_is_live(Relation base, Oid log);
extern bool mvr_capture_is_heard(Relation base, Oid log);
extern bool mvr_capture_disarm(Oid base, bool wait);
extern int64 mvr_capture_shape(Relation base, Oid log, Bitmapset *columns);
extern int64 mvr_capture_shape_part(List *members, Oid log, Oid base,
									Bitmapset *columns);
extern List *mvr_capture_list_unwritten(Oid partition, Oid parent, Oid log);
extern void mvr_capture_add_partition(List *members, Oid parent, Oid log,
									  Oid base);

/* ----------
 * mutable.c: what a query's result depends on besides its tables
 * ----------
 */
extern char *mvr_mutable_refuse(Query *query, bool *reads_settings);
extern int64 mvr_mutable_hash(Query *query, bool reads_settings);
extern uint64 mvr_mutable_hash_settings(void);
extern bool mvr_mutable_is_parsed(const char *name);
extern const char *mvr_mutable_get_setting(const char *name);
extern List *mvr_mutable_add_settings(List *list, bool reads_settings);

/* ----------
 * json_xml.c: SQL/JSON and XML expressions, whose functions are not in the tree
 * ----------
 */
extern bool mvr_json_xml_get_rendered(Node *node, List **args);
extern bool mvr_json_xml_has_mutable_input(Oid type);
extern bool mvr_json_xml_reads_settings(Node *node);
extern bool mvr_json_xml_is_fixed_type(Oid type);
extern bool mvr_json_xml_is_mutable(Node *node);

/* ----------
 * tree.c: small pieces of Query trees
 *
 * Pure, as are the next two.
 * ----------
 */
extern Expr *mvr_tree_make_int4(int32 value);
extern Expr *mvr_tree_make_int8(int64 value);
extern Expr *mvr_tree_make_call(Oid func, Oid type, List *args);
extern Aggref *mvr_tree_make_aggregate(Oid func, Oid type, Expr *arg, Expr *filter);
extern Expr *mvr_tree_make_case(Expr *condition, Expr *value);
extern Expr *mvr_tree_make_equals(Oid eqop, Expr *a, Expr *b, Oid collation);
extern Node *mvr_tree_make_exists(Query *query);
extern Node *mvr_tree_and(List *quals);
extern bool mvr_tree_may_fail(Node *node);
extern Query *mvr_tree_make_select(void);
extern void mvr_tree_append_target(Query *query, Expr *expr, const char *name);
extern RangeTblEntry *mvr_tree_make_subquery_rte(Query *subquery, const char *name);
extern void mvr_tree_set_fence(RangeTblEntry *rte);
extern bool mvr_tree_is_fence(const RangeTblEntry *rte);
extern void mvr_tree_build_fence(RangeTblEntry *rte);
extern RangeTblEntry *mvr_tree_make_enr_rte(const char *name, TupleDesc desc,
											double nrows);
extern CommonTableExpr *mvr_tree_make_cte(const char *name, Query *query);
extern RangeTblEntry *mvr_tree_make_cte_rte(CommonTableExpr *cte, int level);
extern RangeTblRef *mvr_tree_append_from(Query *query, RangeTblEntry *rte);
extern Query *mvr_tree_make_outer(Query *subquery, const char *name);
extern Query *mvr_tree_make_union_all(List *arms);
extern void mvr_tree_blank_rte(RangeTblEntry *rte);
extern void mvr_tree_blank_unused(Query *query);
extern Bitmapset *mvr_tree_list_rtis(Node *jointree);
extern Bitmapset *mvr_tree_pull_rtis(Node *node);
extern Bitmapset *mvr_tree_list_lateral(RangeTblEntry *rte);
extern bool mvr_tree_is_correlated(Query *query);
extern Query *mvr_tree_sink(Query *query);
extern Query *mvr_tree_lower(Query *query);
extern Bitmapset *mvr_tree_list_nulling(Node *jointree, int rti);
extern Var *mvr_tree_make_visible(Query *query, Var *var);
extern Node *mvr_tree_strip_relabel(Node *node);
extern Bitmapset *mvr_tree_list_linear(Query *query);
extern Node *mvr_tree_fill_params(Node *node, List *targets);
extern AttrNumber mvr_tree_get_column(Node *node, int rti);
extern bool mvr_tree_is_equality(Node *qual);

/* ----------
 * desugar.c: operators that are others in disguise, written as those
 * ----------
 */
extern Query *mvr_desugar_set_operations(Query *query);
extern bool mvr_desugar_fits_arms(Query *query);
extern void mvr_desugar_grouping(Query *query);
extern bool mvr_desugar_has_constant_key(Query *query);
extern Query *mvr_desugar_grouping_sets(Query *query, char **reason);
extern void mvr_desugar_right_joins(Query *query, Node *jointree);
extern Query *mvr_desugar_full_joins(Query *query);

/* ----------
 * layers.c: one operator for each query level
 * ----------
 */
extern bool mvr_layers_is_grouped(const Query *query);
extern bool mvr_layers_is_keyed(const Query *query);
extern Query *mvr_layers_split(Query *query);
extern bool mvr_layers_is_sorted_by_set(const Query *query);
extern Query *mvr_layers_raise_order(Query *query);

/* ----------
 * columns.c: virtual columns and whole rows as expressions
 * ----------
 */
extern bool mvr_columns_is_odd_row(Oid relid);
extern List *mvr_columns_list_virtual(Query *query);
extern Query *mvr_columns_expand(Query *query);

/* ----------
 * not_null.c: which expressions cannot be NULL
 * ----------
 */
extern bool mvr_not_null_is_proven(Query *query, Node *expr);
extern bool mvr_not_null_is_comparison(Node *test);

/* ----------
 * not_in.c: NOT IN and its kin as EXISTS and NOT EXISTS
 * ----------
 */
extern void mvr_not_in_rewrite(Query *query);

/* ----------
 * normalize.c: a view's query, brought to the form that can be maintained
 * ----------
 */
extern Query *mvr_normalize_expand(Relation view);
extern List *mvr_normalize_query(Query *query, char **reason);
extern bool mvr_normalize_is_grouped(const Query *query);

/* ----------
 * scale.c: how many decimal digits a numeric expression shows
 * ----------
 */
extern Bitmapset *mvr_scale_infer(Expr *expr);

/* ----------
 * analyze.c: a view's query -> stages, or the reason why not
 * ----------
 */
typedef enum MvrStrategy
{
	MVR_RECOMPUTE,				/* not maintained; the stage's reason says why */
	MVR_ROWS,					/* each row of the view is a row of the input */
	MVR_GROUPS,					/* each row of the view is a group of the input */
	MVR_KEYS					/* the rows of each key are computed anew */
} MvrStrategy;

/* How a state column follows a change of its group */
typedef enum MvrMerge
{
	MVR_MERGE_COUNT,			/* int8: add what came, subtract what went */
	MVR_MERGE_SUM,				/* the same; NULL while its count is 0 */
	MVR_MERGE_EXTREMUM,			/* recompute if what went could be it */
	MVR_MERGE_SCALE,			/* least or greatest numeric scale of a sum */
	MVR_MERGE_NONE				/* recompute the group whatever happened */
} MvrMerge;

/* Not a column that counts values, but the number of rows in the group */
#define MVR_COUNT_OF_ROWS	(-1)

/* A column of the state table that holds an aggregate of the group */
typedef struct MvrStateColumn
{
	MvrMerge	merge;
	Aggref	   *aggregate;		/* over the input's expressions */
	int			count;			/* SUM, SCALE: index of the count column, or
								 * MVR_COUNT_OF_ROWS */
	Oid			better;			/* EXTREMUM: operator, "a better b" */
} MvrStateColumn;

/* A column that makes a group: an expression of the input with its "=" */
typedef struct MvrGroupKey
{
	Expr	   *expr;
	SortGroupClause *clause;
	Oid			type;
	int32		typmod;
	Oid			collation;
	bool		is_image_equal; /* values that are "=" look alike */
} MvrGroupKey;

/*
 * A query of the list that normalize.c makes.  The view's own is the last: it
 * is by rows or by groups.  Those before it are by groups or by keys; each has
 * its contents in a state table, which the ones behind it read.
 */
typedef struct MvrStage
{
	MvrStrategy strategy;
	Query	   *input;			/* linear; by keys, with windows or LIMIT */
	TupleDesc	desc;			/* of what it hands out; of the view */
	List	   *inner;			/* of MvrStage: all but the view's own */
	Oid			state;			/* set by inner.c, once there is one */
	struct MvrPlans *plans;		/* see plan.c; NULL if the stage is not kept */

	/* of the view's own stage */
	char	   *reason;			/* of MVR_RECOMPUTE */
	Query	   *query;			/* the view's query as the rewriter expands it */
	List	   *uses;			/* of MvrUse: base tables and columns of all stages */
	bool		reads_settings; /* as TimeZone, see mutable.c */
	bool		has_ambiguous;	/* some stage has outputs as below */

	/* by groups, or by keys */
	List	   *keys;			/* of MvrGroupKey */
	List	   *outputs;		/* of TargetEntry over the state's columns */
	Expr	   *having;			/* likewise, or NULL */
	bool		is_scalar;		/* no keys: one group, or all rows together */

	/* by groups */
	List	   *columns;		/* of MvrStateColumn */
	bool		is_merged;		/* no column recomputes every group */
	Bitmapset  *ambiguous;		/* outputs that may look different each time */
	AttrNumber *held;			/* if the view holds its own state: per column of
								 * the state, the view's; else NULL */
} MvrStage;

/* A base table that the query reads, with the columns it needs of it */
typedef struct MvrUse
{
	Oid			base;
	Bitmapset  *columns;
	bool		is_dependent;	/* read by a dependent part, see normalize.c */
	Bitmapset  *identity;		/* if so: columns that tell its rows apart */
} MvrUse;

/* The fixed columns of a state table; then the keys, then columns or outputs */
#define MVR_STATE_HASH		1	/* int8: of the keys, indexed */
#define MVR_STATE_TID		2	/* tid: the group's row in the view, or NULL */
#define MVR_STATE_COUNT		3	/* int8: rows of input in the group */
#define MVR_STATE_FIXED		3

/* ----------
 * uses.c: which base tables, and which columns of them, a view needs
 * ----------
 */
extern void mvr_uses_collect(MvrStage *view, const MvrStage *stage);
extern void mvr_uses_find_identities(MvrStage *view);

/* ----------
 * analyze.c, on
 * ----------
 */
extern MvrStage *mvr_analyze_view(Relation view);
extern int64 mvr_analyze_hash(const MvrStage *view);
extern TupleDesc mvr_analyze_build_state_desc(const MvrStage *stage);

/* ----------
 * advise.c: which indexes on base tables, and on states, make changes cheap
 * ----------
 */
extern List *mvr_advise_list_indexes(const MvrStage *view);
extern List *mvr_advise_list_state_lookups(const MvrStage *view, const MvrStage *stage);

/* ----------
 * delta_item.c: what a FROM item reads
 *
 * Pure, as are the next three.
 * ----------
 */

/* What the queries of a stage are built from */
typedef struct MvrItems
{
	List	   *inner;			/* of MvrStage: what "stage 1" ... stand for */
	List	   *deltas;			/* of MvrDelta; what has none has not changed */
} MvrItems;

/* A term's linear part, see delta_rows.c */
typedef struct MvrRows
{
	Query	   *linear;			/* the query of the rows, a CTE */
	Query	   *rest;			/* reads them as item rti */
	Bitmapset  *items;			/* whose columns the rows have */
	List	   *columns;		/* of Var: what their columns are in the term */
	int			rti;
	int			level;			/* of queries from the rest out to the CTEs */
	List	   *ctes;			/* of CommonTableExpr, the rows first */
} MvrRows;

/*
 * Rows of an item that can matter: those whose columns have values that occur
 * in a delta, or in the rows of a term.  Both lists have attribute numbers, of
 * the item and of the delta's ephemeral relation or the rows.
 */
typedef struct MvrKeys
{
	MvrDelta   *delta;			/* or NULL: */
	MvrRows    *rows;
	int			level;			/* of queries from the item's out to the rows' CTE */
	bool		is_joined;		/* the item is read once, not for row after row */
	List	   *attnos;
	List	   *columns;
} MvrKeys;

/* pg_operator.dat has no symbols for these */
#define MVR_INT4_LT		97
#define MVR_INT4_NE		518
#define MVR_INT4_GT		521

extern MvrStage *mvr_item_lookup_stage(MvrItems *context, RangeTblEntry *rte);
extern MvrDelta *mvr_item_lookup_delta(MvrItems *context, RangeTblEntry *rte);
extern bool mvr_item_has_changed(Node *node, MvrItems *context);
extern bool mvr_item_is_plain(MvrDelta *delta, AttrNumber attno);
extern Var *mvr_item_make_weight(int rti, AttrNumber attno);
extern Node *mvr_item_make_sign(Oid op, Var *weight);
extern RangeTblEntry *mvr_item_build_stage(MvrStage *stage);
extern Query *mvr_item_build_delta(MvrDelta *delta);
extern Query *mvr_item_build_went(MvrDelta *delta);
extern Query *mvr_item_build_kept(RangeTblEntry *rte, MvrDelta *delta, Query *home);
extern Query *mvr_item_build_old_weighted(RangeTblEntry *rte, MvrDelta *delta,
										  Query *home, MvrKeys *keys);
extern Query *mvr_item_build_old_keyed(RangeTblEntry *rte, MvrDelta *delta,
									   Query *home, MvrKeys *keys);
extern Query *mvr_item_build_old_table(RangeTblEntry *rte, MvrDelta *delta,
									   Query *home, MvrKeys *keys, int rti,
									   List *quals);
extern Node *mvr_item_build_old_qual(int rti, MvrDelta *delta);

/* ----------
 * delta_place.c: the places at which something changed is read
 * ----------
 */
typedef struct MvrPlace
{
	char	   *mark;
	bool		is_linear;
	RangeTblEntry *rte;			/* what it reads, in the query that was marked */
	int			rti;			/* of a linear item */
} MvrPlace;

typedef struct MvrPlaces
{
	MvrItems   *context;
	List	   *dependent;		/* of MvrPlace */
	List	   *linear;
} MvrPlaces;

extern void mvr_place_mark(Query *query, bool is_linear, MvrPlaces *places);
extern bool mvr_place_is_marked(RangeTblEntry *rte, const char *mark);
extern bool mvr_place_is_below(Node *node, const char *mark);
extern void mvr_place_replace(Query *owner, int rti, Query *by);
extern void mvr_place_set_old(Query *query, MvrPlace *place, MvrKeys *keys,
							  Query *changes, MvrItems *context);
extern void mvr_place_set_delta(Query *query, MvrPlace *place, Query *changes,
								MvrItems *context);
extern AttrNumber mvr_place_get_weight(Query *query, MvrPlace *place,
									   MvrItems *context, int *rti);
extern Query *mvr_place_resolve(Query *query, MvrItems *context);

/* ----------
 * delta_rows.c: the linear part of a term, computed once
 * ----------
 */
extern MvrRows *mvr_rows_split(Query *query, MvrPlaces *places);
extern bool mvr_rows_can_tell(MvrRows *rows, Node *qual);
extern AttrNumber mvr_rows_lookup_column(MvrRows *rows, Node *expr);
extern void mvr_rows_finish(MvrRows *rows, int level);

/* ----------
 * delta_outer.c: rows without a partner, in LEFT JOIN and NOT EXISTS
 * ----------
 */
extern bool mvr_outer_set_old(Query *rest, MvrPlace *place, MvrPlaces *places,
							  MvrItems *context);
extern List *mvr_outer_build_terms(Query *rest, MvrPlace *place, MvrItems *context);

/* ----------
 * delta_touch.c: which rows a change in a dependent part touches
 * ----------
 */

/* A column of the place that must be equal to an expression of the term's row */
typedef struct MvrLink
{
	Node	   *outside;
	AttrNumber	attno;
} MvrLink;

typedef struct MvrFocus
{
	MvrItems   *context;
	Query	   *term;			/* whose rows are touched */
	MvrPlace   *place;
	bool		failed;			/* not understood: everything is touched */
	bool		is_joined;		/* the planner joins the part, and does not compute
								 * it for one row after the other */
	Bitmapset  *removed;		/* joins of this level that are none any more */
	int			center;			/* the item of this level that has the place */
	Bitmapset  *lost;			/* columns of it that are not usable */
	Query	   *level;			/* where the place was found, as rti */
	int			rti;
	List	   *links;			/* of MvrLink: what must be equal */
	bool		is_nothing;		/* no row is touched */
} MvrFocus;

extern SubLink *mvr_touch_build(Query *term, MvrFocus *focus);
extern void mvr_touch_add(Query *term, SubLink *touched);

/* ----------
 * delta_query.c: stage + changed base tables -> Query trees
 *
 * Pure: no locks, no I/O.  "deltas" is a list of MvrDelta; a base table
 * without an entry has not changed.
 * ----------
 */
extern bool mvr_delta_query_has_changed(const MvrStage *stage, List *deltas);
extern Query *mvr_delta_query_build_all(const MvrStage *stage);
extern Query *mvr_delta_query_build_rows(const MvrStage *stage, List *deltas);
extern Query *mvr_delta_query_build_groups(const MvrStage *stage, List *deltas);
extern Query *mvr_delta_query_build_contents(const MvrStage *stage,
											 TupleDesc keys, const char *name,
											 int64 nrows, bool with_nulls);
extern int	mvr_delta_query_count_reads(const MvrStage *stage, Oid base);
extern bool mvr_delta_query_is_linear(const MvrStage *view);
extern bool mvr_delta_query_is_separable(const MvrStage *view);
extern bool mvr_delta_query_reads_once(const MvrStage *view);

/* ----------
 * delta_stats.c: what the planner may know about the rows of deltas
 * ----------
 */
extern void mvr_delta_stats_init(void);
extern List *mvr_delta_stats_set(List *deltas);
extern MvrDelta *mvr_delta_stats_lookup(RangeTblEntry *rte);

/* ----------
 * delta_scan.c: a plan node that reads the rows of a delta where they stand
 * ----------
 */
extern void mvr_delta_scan_init(void);

/* ----------
 * run_query.c: plan a Query tree and run it, row by row into a function
 * ----------
 */
typedef void (*MvrRowFunction) (TupleTableSlot *row, void *arg);

extern QueryEnvironment *mvr_run_query_environment(List *deltas);
extern void mvr_run_query_add_rows(QueryEnvironment *env, const char *name,
								   TupleDesc desc, Tuplestorestate *rows,
								   int64 nrows);
extern void mvr_run_query_check_rights(Query *query);
extern PlannedStmt *mvr_run_query_plan(Query *query, bool may_be_parallel);
extern PlannedStmt *mvr_run_query_plan_delta(Query *query, List *deltas,
											 bool may_be_parallel);
extern uint64 mvr_run_query(PlannedStmt *plan, QueryEnvironment *env,
							MvrRowFunction function, void *arg);
extern char *mvr_run_query_explain(PlannedStmt *plan, QueryEnvironment *env);

/* ----------
 * plan.c: plans of delta queries, kept with stages that are kept
 * ----------
 */
typedef struct MvrPlans
{
	MemoryContext context;		/* where the stage lives, and the plans */
	List	   *plans;
} MvrPlans;

extern PlannedStmt *mvr_plan_delta(const MvrStage *stage, List *deltas);
extern void mvr_plan_lock(const MvrStage *view, List *states, bool is_state);
extern bool mvr_plan_depends_on(const MvrStage *view, Oid relid);

/* ----------
 * identify.c: which rows of a base table are those that appeared
 * ----------
 */
extern void mvr_identify_prepare(Relation base, const MvrStage *stage, MvrDelta *delta);

/* ----------
 * matview_heap.c: the only writer of view and state storage
 * ----------
 */
typedef struct MvrHeap
{
	MemoryContext context;		/* where this lives */
	Relation	rel;
	EState	   *estate;
	ResultRelInfo *info;
	int64		inserted;
	int64		updated;
	int64		deleted;
	MvrLogWriter *log;			/* of a view that others stand on, or NULL */
	TupleTableSlot *gone;		/* for the log: a row before it goes */

	/* to find rows; see mvr_heap_set_index */
	Relation	index;
	int			nkeys;
	AttrNumber *keys;			/* columns of the key, 0 for an expression */
	struct ScanKeyData *scankeys;
	struct IndexScanDescData *scan;
	TupleTableSlot *found;		/* the row found last */
	bool		must_serialize; /* see mvr_heap_find */
} MvrHeap;

typedef bool (*MvrHeapMatch) (MvrHeap *heap, void *arg);

extern MvrHeap *mvr_heap_open(Oid relid, LOCKMODE lockmode);
extern void mvr_heap_close(MvrHeap *heap);
extern void mvr_heap_set_index(MvrHeap *heap, Oid index);
extern void mvr_heap_seek(MvrHeap *heap, const Datum *values, const bool *nulls);
extern bool mvr_heap_next(MvrHeap *heap);
extern bool mvr_heap_find(MvrHeap *heap, const Datum *values, const bool *nulls,
						  MvrHeapMatch match, void *arg);
extern bool mvr_heap_fetch(MvrHeap *heap, ItemPointer tid);
extern void mvr_heap_insert(MvrHeap *heap, TupleTableSlot *slot);
extern void mvr_heap_update(MvrHeap *heap, ItemPointer tid, TupleTableSlot *slot);
extern void mvr_heap_delete(MvrHeap *heap, ItemPointer tid);
extern Oid	mvr_heap_lookup_key_index(Relation view, Bitmapset *columns);
extern bool mvr_heap_has_other_unique(Relation view, Oid index,
									  Bitmapset *columns);
extern Oid	mvr_heap_lookup_row_index(Relation view);
extern Oid	mvr_heap_create_row_index(Relation view, bool skip_build);
extern void mvr_heap_build_row_index(Oid index);
extern Oid	mvr_heap_create_state(Relation view, int number, TupleDesc desc);
extern void mvr_heap_create_state_indexes(Oid state, int nkeys, List *lookups);
extern void mvr_heap_analyze_state(Oid state);
extern Oid	mvr_heap_lookup_state_index(Relation state);
extern void mvr_heap_drop(Oid relid);

/* ----------
 * track.c: start, check and end the tracking of a view
 * ----------
 */
extern char *mvr_track_ensure(Relation view, MvrStage *stage,
							  MvrTracked **tracked, bool start, Oid userid);
extern bool mvr_track_is_heard(const MvrSource *source);
extern bool mvr_track_is_complete(const MvrTracked *tracked);
extern bool mvr_track_is_armed(MvrStage *stage, MvrSource *source);
extern char *mvr_track_find_fault(MvrStage *stage, MvrTracked *tracked);
extern void mvr_track_set_live(MvrTracked *tracked, char live, bool reads_settings);
extern bool mvr_track_end(Oid view, bool wait);
extern void mvr_track_sweep(void);
extern void mvr_track_add_partition(Oid partition);
extern void mvr_track_mark_unseen(Oid member);
extern PGDLLEXPORT Datum mvr_track(PG_FUNCTION_ARGS);

/* ----------
 * merge.c: the values of a state column, before and after
 * ----------
 */
typedef struct MvrValue
{
	Datum		value;
	bool		isnull;
} MvrValue;

extern bool mvr_merge_columns(const MvrStage *stage, TupleTableSlot *found,
							  TupleTableSlot *delta, TupleTableSlot *next);

/* ----------
 * stage_key.c: find the rows of a state table by their keys
 * ----------
 */
typedef struct MvrStageKey
{
	const MvrStage *stage;
	int			nkeys;
	struct MvrKeySupport *keys;
	TupleDesc	desc;			/* of the keys */
	MemoryContext context;		/* where this lives */
	Tuplestorestate *wanted[2]; /* keys to recompute; [1] have NULLs */
	int64		nwanted[2];
} MvrStageKey;

extern MvrStageKey *mvr_stage_key_begin(const MvrStage *stage);
extern int64 mvr_stage_key_hash(MvrStageKey *key, TupleTableSlot *slot, int first);
extern bool mvr_stage_key_is_same(MvrStageKey *key, TupleTableSlot *a, int a_first,
								  TupleTableSlot *b, int b_first);
extern void mvr_stage_key_want(MvrStageKey *key, TupleTableSlot *slot);
extern void mvr_stage_key_run_wanted(MvrStageKey *key, int kind,
									 MvrRowFunction function, void *arg);
extern void mvr_stage_key_end(MvrStageKey *key);

/* ----------
 * key_lock.c: who writes a view beside others locks the keys that it writes
 * ----------
 */
typedef struct MvrKeyLock
{
	Oid			view;
	bool		is_latest;		/* read what is committed now, whatever the
								 * transaction's snapshot */
	bool		is_full;		/* too many keys */
	int			nhashes;
	uint64	   *hashes;
} MvrKeyLock;

extern void mvr_key_lock_begin(MvrKeyLock *lock, Oid view, bool is_latest);
extern void mvr_key_lock_add(MvrKeyLock *lock, uint64 hash);
extern bool mvr_key_lock_acquire(MvrKeyLock *lock);
extern void mvr_key_lock_push_snapshot(bool is_latest);

/* ----------
 * stage.c: merge a delta into a stage, and write what comes of it
 *
 * An inner stage has no view to write: it hands out its changes.
 * ----------
 */

/* A group: its state, and its row in the view or NULL if HAVING is not true */
typedef void (*MvrGroupFunction) (TupleTableSlot *state, TupleTableSlot *row,
								  void *arg);

extern MvrDelta *mvr_stage_make_delta(MvrStage *stage);
extern void mvr_stage_put_delta(MvrDelta *delta, TupleTableSlot *row, int weight,
								ItemPointer place);
extern bool mvr_stage_apply_rows(const MvrStage *stage, PlannedStmt *plan,
								 MvrHeap *view, List *deltas, MvrKeyLock *lock);
extern bool mvr_stage_apply_groups(const MvrStage *stage, PlannedStmt *plan,
								   MvrHeap *view, MvrHeap *state, List *deltas,
								   MvrDelta *changes, MvrKeyLock *lock);
extern void mvr_stage_run_groups(const MvrStage *stage,
								 MvrGroupFunction function, void *arg);

/* ----------
 * keyed.c: the same for a stage by keys
 * ----------
 */
extern bool mvr_keyed_apply(const MvrStage *stage, PlannedStmt *plan,
							MvrHeap *state, List *deltas, MvrDelta *changes);
extern void mvr_keyed_fill(const MvrStage *stage, MvrHeap *state);

/* ----------
 * inner.c: the stages below a view's own
 * ----------
 */
extern void mvr_inner_set_states(MvrStage *view, const MvrTracked *tracked,
								 LOCKMODE lockmode);
extern bool mvr_inner_has_states(const MvrStage *view, const MvrTracked *tracked);
extern bool mvr_inner_has_own_state(const MvrStage *view, const MvrTracked *tracked);
extern void mvr_inner_renew(Relation rel, MvrStage *view, MvrTracked *tracked,
							bool with_own);
extern bool mvr_inner_apply(MvrStage *view, List **deltas);

/* ----------
 * estimate.c: is it worth it to apply the changes?
 * ----------
 */
extern bool mvr_estimate_is_rebuild_cheaper(MvrStage *view, List *known);
extern bool mvr_estimate_can_fail(const MvrStage *view, List *deltas);
extern char *mvr_estimate_find_flood(const MvrStage *view, List *deltas);

/* ----------
 * apply.c: apply deltas of base tables to all stages of a view
 * ----------
 */
typedef struct MvrApply
{
	Relation	view;
	MvrStage   *stage;
	MvrKeyLock *lock;			/* others may write the view; else NULL */
	bool		must_serialize; /* see mvr_heap_find */
	int64		inserted;
	int64		updated;
	int64		deleted;
} MvrApply;

extern Oid	mvr_apply_lookup_row_index(Relation view, const MvrStage *stage);
extern const char *mvr_apply_find_fault(Relation view, const MvrStage *stage,
										const MvrTracked *tracked);
extern char *mvr_apply_try(void (*body) (void *arg), void *arg);
extern char *mvr_apply_deltas(MvrApply *apply, List *deltas);

/* ----------
 * rebuild.c: fill a new heap beside the view's, then swap the files
 * ----------
 */
typedef struct MvrRebuild MvrRebuild;

extern MvrRebuild *mvr_rebuild_begin(Relation view);
extern void mvr_rebuild_put(MvrRebuild *rebuild, TupleTableSlot *slot);
extern bool mvr_rebuild_swap(MvrRebuild *rebuild, bool wait);
extern void mvr_rebuild_abandon(MvrRebuild *rebuild);

/* ----------
 * diff.c: recompute, write the differences
 * ----------
 */
extern void mvr_diff_write(const MvrStage *stage, MvrHeap *view, MvrHeap *state);
extern bool mvr_diff_is_current(Relation view);
extern void mvr_diff_count(const MvrStage *stage, Relation view,
						   int64 *missing, int64 *extra);

/* ----------
 * refresh.c: the one entry
 * ----------
 */
extern const char *mvr_refresh_auto(Oid view, bool in_place);
extern void mvr_refresh_incremental_view(Oid view);
extern void mvr_refresh_live(Oid view, bool is_latest, char *reason);

/* ----------
 * kept.c: what a session keeps of live views
 * ----------
 */
typedef struct MvrKept
{
	Oid			view;
	bool		is_valid;
	MemoryContext context;		/* of all that follows */
	MvrStage   *stage;
	MvrTracked *tracked;		/* NULL if the view is not tracked */
	char	   *fault;			/* why it must be recomputed, or NULL */
	bool		is_linear;		/* no state but its own, no dependent parts */
	bool		is_separable;	/* and no joins */
	int			depth;			/* tracked views that it stands on */
	List	   *relations;		/* what all this depends on, beside the plans */
} MvrKept;

extern MvrKept *mvr_kept_lookup(Oid view);
extern MvrKept *mvr_kept_get(Relation view);
extern bool mvr_kept_is_armed(MvrSource *source);
extern void mvr_kept_forget_all(void);

/* ----------
 * committing.c: no foreign table is read while a transaction commits
 * ----------
 */
extern void mvr_committing_init(void);
extern void mvr_committing_run(void (*function) (void));

/* ----------
 * in_transaction.c: live views
 * ----------
 */
extern void mvr_in_transaction_init(void);
extern void mvr_in_transaction_start(Oid view, char live);
extern void mvr_in_transaction_stop(Oid view);
extern void mvr_in_transaction_check(Oid relid, bool is_gone);
extern void mvr_in_transaction_note_refresh(Oid view);

/* ----------
 * cron.c: when a cron line comes next
 * ----------
 */
typedef struct MvrCron
{
	uint64		minutes;		/* bit per value */
	uint32		hours;
	uint32		days;			/* of the month, from bit 1 */
	uint32		months;			/* from bit 1 */
	uint32		weekdays;		/* Sunday is bit 0 */
	bool		any_day;		/* day of the month begins with an asterisk */
	bool		any_weekday;	/* day of the week likewise */
} MvrCron;

extern bool mvr_cron_parse(const char *text, MvrCron *cron, char **problem);
extern bool mvr_cron_is_like(const char *text);
extern TimestampTz mvr_cron_next(const MvrCron *cron, TimestampTz after);

/* ----------
 * policy.c: when views are to be refreshed by themselves
 * ----------
 */
typedef enum MvrPolicyKind
{
	MVR_POLICY_OFF,
	MVR_POLICY_ON_STATEMENT,
	MVR_POLICY_ON_COMMIT,
	MVR_POLICY_ON_CHANGE,
	MVR_POLICY_EVERY,
	MVR_POLICY_CRON
} MvrPolicyKind;

typedef struct MvrPolicy
{
	Oid			view;
	bool		paused;
	MvrPolicyKind kind;
	Interval	every;			/* MVR_POLICY_EVERY */
	MvrCron		cron;			/* MVR_POLICY_CRON */
	char	   *text;			/* as it is stored */
	TimestampTz since;			/* when it was set */
} MvrPolicy;

extern void mvr_policy_set(Oid view, const char *text, const char *command);
extern List *mvr_policy_list(void);
extern bool mvr_policy_adopt(bool also_unfilled);
extern void mvr_policy_follow_refresh(Oid view);
extern void mvr_policy_start_missing(Oid view);
extern void mvr_policy_forget(List *relations);
extern bool mvr_policy_is_in_force(Oid view);
extern bool mvr_policy_lookup_run(Oid view, MvrRun *run);
extern void mvr_policy_store_run(const MvrRun *run, const char *error);
extern TimestampTz mvr_policy_add_interval(TimestampTz start, const Interval *every);
extern TimestampTz mvr_policy_next_turn(TimestampTz start, const Interval *every, TimestampTz now);

/* ----------
 * process.c: what our background processes have in common
 * ----------
 */
extern bool mvr_process_register(const char *function, const char *name,
								 const char *type, int64 arg,
								 BackgroundWorkerHandle **handle);
extern void mvr_process_connect(Oid database, const char *lock_timeout);
extern void mvr_process_set_signals(void);
extern bool mvr_process_take_reload(void);
extern bool mvr_process_wait(TimestampTz until);

/* ----------
 * pool.c: a scheduler's side of the worker slots
 * ----------
 */
extern void mvr_pool_begin(MvrDatabase *db);
extern MvrWorker *mvr_pool_assign(Oid view, int *generation);
extern void mvr_pool_free_dead(void);
extern void mvr_pool_start(int needed, TimestampTz now);
extern void mvr_pool_set_starving(MvrDatabase *db, bool is_starving);
extern TimestampTz mvr_pool_get_retry_time(TimestampTz now);

/* ----------
 * worker.c, scheduler.c, launcher.c: the background processes
 * ----------
 */
extern int64 mvr_worker_argument(int slot, int generation);
extern void mvr_launcher_register(void);
extern PGDLLEXPORT void mvr_worker_main(Datum arg);
extern PGDLLEXPORT void mvr_scheduler_main(Datum arg);
extern PGDLLEXPORT void mvr_launcher_main(Datum arg);

/* ----------
 * utility.c: commands that are ours, and those that we must know of
 * ----------
 */
extern void mvr_utility_init(void);

#endif							/* MATVIEW_REFRESH_H */
