/*
 * compat.h
 *		The differences between PostgreSQL versions, in this file only.
 *
 * Written against 18; what older versions name or order differently is
 * mapped to the newest form.
 */
#ifndef MATVIEW_REFRESH_COMPAT_H
#define MATVIEW_REFRESH_COMPAT_H

#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/acl.h"
#include "utils/rel.h"

#if PG_VERSION_NUM < 150000
#error "matview_refresh needs PostgreSQL 15 or later"
#endif

#if PG_VERSION_NUM < 160000
#include "catalog/pg_class.h"
#define object_ownercheck(classid, objid, roleid) \
	((classid) == RelationRelationId ? \
	 pg_class_ownercheck(objid, roleid) : \
	 (elog(ERROR, "unexpected object class %u", classid), false))
typedef bool TU_UpdateIndexes;
#define mvr_needs_index_update(u) (u)
#define mvr_only_summarizing(u) false
#else
#define mvr_needs_index_update(u) ((u) != TU_None)
#define mvr_only_summarizing(u) ((u) == TU_Summarizing)
#endif

#if PG_VERSION_NUM < 170000
#define foreach_ptr(type, var, lst) \
	for (ListCell *var##__cell = list_head(lst), *var##__go = (ListCell *) 1; \
		 var##__go != NULL && var##__cell != NULL; \
		 var##__cell = lnext(lst, var##__cell)) \
		for (type *var = (var##__go = NULL, lfirst(var##__cell)); \
			 var##__go == NULL; var##__go = (ListCell *) 1)
#endif

#endif							/* MATVIEW_REFRESH_COMPAT_H */
