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
 *	stage		how the view's query is maintained, with its state table
 *	strategy	the way a stage is maintained: by rows, by groups, not at all
 */
#ifndef MATVIEW_REFRESH_H
#define MATVIEW_REFRESH_H

#include "postgres.h"

#include "access/transam.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "nodes/execnodes.h"
#include "nodes/parsenodes.h"
#include "storage/itemptr.h"
#include "utils/queryenvironment.h"
#include "utils/rel.h"
#include "utils/snapshot.h"
#include "utils/tuplestore.h"

#include "compat.h"

/* ----------
 * matview_refresh.c: settings
 * ----------
 */
extern int	mvr_history_limit;	/* rows of history kept per view */
extern int	mvr_swap_timeout;	/* ms to go on trying for the swap's lock */
extern int	mvr_max_log_size;	/* kB of log one view may hold back; -1 any */

/* ----------
 * view.c: the view that an SQL function was called for
 * ----------
 */
extern Oid	mvr_view_get_argument(FunctionCallInfo fcinfo);
extern Relation mvr_view_open(Oid view, LOCKMODE lockmode);
extern Oid	mvr_view_get_file(Oid view);
extern void mvr_view_check_may_write(const char *command);
extern void mvr_view_check_unused(Relation view);
extern int	mvr_view_become_owner(Relation view, Oid *save_userid,
								  int *save_context);
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
	Oid			state;			/* state table, or InvalidOid */
	Oid			file;			/* relfilenode the contents were left in */
	int64		query_hash;		/* of the expanded query */
	MvrFrontier frontier;
	List	   *sources;		/* of MvrSource, by base */
} MvrTracked;

extern Oid	mvr_catalog_get_namespace(void);
extern Oid	mvr_catalog_get_owner(void);
extern MvrTracked *mvr_catalog_lookup_view(Oid view);
extern void mvr_catalog_store_view(const MvrTracked *tracked, bool with_sources);
extern void mvr_catalog_delete_view(Oid view);
extern List *mvr_catalog_list_views(Oid base);
extern Oid	mvr_catalog_lookup_log(Oid base);
extern void mvr_catalog_store_log(Oid base, Oid log);
extern void mvr_catalog_delete_log(Oid base);
extern void mvr_catalog_append_history(Oid view, const char *mode,
									   const char *reason, int64 inserted,
									   int64 updated, int64 deleted,
									   int64 changes, TimestampTz started);
extern void mvr_catalog_delete_history(Oid view);
extern void mvr_catalog_own_by_extension(Oid classid, Oid objid);
extern Oid	mvr_catalog_create_table(const char *name, TupleDesc desc,
									 Datum options, Oid about);

extern MvrFrontier mvr_frontier_here(void);
extern bool mvr_frontier_covers(const MvrFrontier *frontier,
								FullTransactionId xid, CommandId cid);
extern bool mvr_frontier_is_visible(const MvrFrontier *frontier);

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
#define MVR_LOG_FIXED		3

/* The changes of one base table that are new to one view */
typedef struct MvrDelta
{
	Oid			base;
	char	   *name;			/* as ephemeral named relation */
	Tuplestorestate *rows;
	TupleDesc	desc;			/* the view's columns by attnum, then weight */
	AttrNumber *attmap;			/* base attnum - 1 -> column here, or 0 */
	int			natts;			/* length of attmap */
	int64		nrows;
	int64		nread;			/* before they were netted */
} MvrDelta;

/* Appends rows to a log; for trigger.c, private otherwise */
typedef struct MvrLogBatch MvrLogBatch;

typedef struct MvrLogWriter
{
	Relation	log;
	const AttrNumber *source;	/* per column of the log, column of the rows */
	AttrNumber	last;			/* highest of them */
	CommandId	cid;
	Datum	   *values;			/* a row of the log */
	bool	   *nulls;
	MvrLogBatch *batch;			/* NULL: insert row by row */
} MvrLogWriter;

extern Oid	mvr_change_log_ensure(Relation base, Bitmapset *columns);
extern void mvr_change_log_drop(Oid base);
extern AttrNumber mvr_change_log_get_attnum(TupleDesc log, AttrNumber attno);
extern bool mvr_change_log_can_hold(Form_pg_attribute log,
									Form_pg_attribute base);
extern void mvr_change_log_begin_append(MvrLogWriter *writer, Relation log,
										const AttrNumber *source, int64 nrows);
extern void mvr_change_log_append(MvrLogWriter *writer, TupleTableSlot *row,
								  int weight);
extern void mvr_change_log_end_append(MvrLogWriter *writer);
extern void mvr_change_log_append_mark(Oid log);
extern MvrDelta *mvr_change_log_read(Relation base, const MvrSource *source,
									 const MvrFrontier *frontier,
									 bool *marked);
extern void mvr_change_log_end_read(List *deltas);
extern void mvr_change_log_trim(Oid base);
extern int64 mvr_change_log_count(Oid log, const MvrFrontier *frontier);
extern int64 mvr_change_log_measure(Oid log, const MvrFrontier *frontier);

/* ----------
 * trigger.c: append to the change log what was changed
 * ----------
 */
extern const AttrNumber *mvr_trigger_get_map(Relation rel, Relation log, Oid base);

/* ----------
 * capture.c: see to it that every change gets into the change log
 * ----------
 */
extern const char *mvr_capture_refusal(Relation base);
extern bool mvr_capture_arm(Relation base, Oid log);
extern void mvr_capture_disarm(Oid base);
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

/* ----------
 * normalize.c: a view's query, brought to the form that can be maintained
 * ----------
 */
extern Query *mvr_normalize_expand(Relation view);
extern char *mvr_normalize_query(Query **query);
extern bool mvr_normalize_is_grouped(const Query *query);
extern bool mvr_normalize_is_union(Node *node, bool all);

/* ----------
 * analyze.c: a view's query -> stage, or the reason why not
 * ----------
 */
typedef enum MvrStrategy
{
	MVR_RECOMPUTE,				/* not maintained; the stage's reason says why */
	MVR_ROWS,					/* each row of the view is a row of the input */
	MVR_GROUPS					/* each row of the view is a group of the input */
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

/* A column of the state table that holds an aggregate of the group */
typedef struct MvrStateColumn
{
	MvrMerge	merge;
	Aggref	   *aggregate;		/* over the input's expressions */
	int			count;			/* SUM, SCALE: index of the count column */
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

typedef struct MvrStage
{
	MvrStrategy strategy;
	char	   *reason;			/* of MVR_RECOMPUTE */
	Query	   *query;			/* the view's query as the rewriter expands it */
	Query	   *input;			/* linear: joins, filters, UNION ALL; no groups */
	TupleDesc	desc;			/* of the view */
	List	   *uses;			/* of MvrUse: base tables and columns */
	bool		reads_settings; /* as TimeZone, see mutable.c */

	/* MVR_GROUPS only */
	List	   *keys;			/* of MvrGroupKey */
	List	   *columns;		/* of MvrStateColumn */
	List	   *outputs;		/* of TargetEntry over the state's columns */
	Expr	   *having;			/* likewise, or NULL */
	bool		is_scalar;		/* no GROUP BY: always exactly one group */
	bool		is_merged;		/* no column recomputes every group */
	Bitmapset  *ambiguous;		/* outputs that may look different each time */
} MvrStage;

/* A base table that the query reads, with the columns it needs of it */
typedef struct MvrUse
{
	Oid			base;
	Bitmapset  *columns;
} MvrUse;

/* The fixed columns of a state table; then the keys, then the columns */
#define MVR_STATE_HASH		1	/* int8: of the keys, indexed */
#define MVR_STATE_TID		2	/* tid: the group's row in the view, or NULL */
#define MVR_STATE_COUNT		3	/* int8: rows of input in the group */
#define MVR_STATE_FIXED		3

extern MvrStage *mvr_analyze_view(Relation view);
extern TupleDesc mvr_analyze_build_state_desc(const MvrStage *stage);

/* ----------
 * delta_query.c: stage + changed base tables -> Query trees
 *
 * Pure: no locks, no I/O.  "deltas" is a list of MvrDelta; a base table
 * without an entry has not changed.
 * ----------
 */
extern Query *mvr_delta_query_build_rows(const MvrStage *stage, List *deltas);
extern Query *mvr_delta_query_build_groups(const MvrStage *stage, List *deltas);
extern Query *mvr_delta_query_build_contents(const MvrStage *stage,
											 TupleDesc keys, const char *name,
											 int64 nrows, bool with_nulls);

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
extern uint64 mvr_run_query(PlannedStmt *plan, QueryEnvironment *env,
							MvrRowFunction function, void *arg);
extern char *mvr_run_query_explain(PlannedStmt *plan, QueryEnvironment *env);

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

	/* to find rows; see mvr_heap_set_index */
	Relation	index;
	int			nkeys;
	AttrNumber *keys;			/* columns of the key, 0 for an expression */
	struct ScanKeyData *scankeys;
	struct IndexScanDescData *scan;
	TupleTableSlot *found;		/* the row found last */
} MvrHeap;

extern MvrHeap *mvr_heap_open(Oid relid, LOCKMODE lockmode);
extern void mvr_heap_close(MvrHeap *heap);
extern void mvr_heap_set_index(MvrHeap *heap, Oid index);
extern void mvr_heap_seek(MvrHeap *heap, const Datum *values, const bool *nulls);
extern bool mvr_heap_next(MvrHeap *heap);
extern bool mvr_heap_fetch(MvrHeap *heap, ItemPointer tid);
extern void mvr_heap_insert(MvrHeap *heap, TupleTableSlot *slot);
extern void mvr_heap_update(MvrHeap *heap, ItemPointer tid, TupleTableSlot *slot);
extern void mvr_heap_delete(MvrHeap *heap, ItemPointer tid);
extern Oid	mvr_heap_lookup_key_index(Relation view);
extern bool mvr_heap_has_other_unique(Relation view, Oid index,
									  Bitmapset *columns);
extern Oid	mvr_heap_lookup_row_index(Relation view);
extern Oid	mvr_heap_create_row_index(Relation view, bool skip_build);
extern void mvr_heap_build_row_index(Oid index);
extern Oid	mvr_heap_create_state(Relation view, TupleDesc desc);
extern Oid	mvr_heap_create_state_index(Oid state);
extern void mvr_heap_drop(Oid relid);

/* ----------
 * track.c: start, check and end the tracking of a view
 * ----------
 */
extern char *mvr_track_ensure(Relation view, MvrStage *stage,
							  MvrTracked **tracked, bool start, Oid userid);
extern char *mvr_track_find_fault(MvrStage *stage, MvrTracked *tracked);
extern void mvr_track_end(Oid view);
extern void mvr_track_add_partition(Oid partition);

/* ----------
 * stage.c: merge a delta into a stage, and write what comes of it
 * ----------
 */

/* A group: its state, and its row in the view or NULL if HAVING is not true */
typedef void (*MvrGroupFunction) (TupleTableSlot *state, TupleTableSlot *row,
								  void *arg);

extern bool mvr_stage_apply_rows(const MvrStage *stage, PlannedStmt *plan,
								 MvrHeap *view, List *deltas);
extern bool mvr_stage_apply_groups(const MvrStage *stage, PlannedStmt *plan,
								   MvrHeap *view, MvrHeap *state, List *deltas);
extern void mvr_stage_run_groups(const MvrStage *stage,
								 MvrGroupFunction function, void *arg);

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

#endif							/* MATVIEW_REFRESH_H */
