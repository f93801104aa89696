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

/* rebuild.c: files got another name in 16; a count of frozen pages came in 18 */
#if PG_VERSION_NUM < 160000
#define rd_newRelfilelocatorSubid rd_newRelfilenodeSubid
#define rd_firstRelfilelocatorSubid rd_firstRelfilenodeSubid
#define RelationAssumeNewRelfilelocator RelationAssumeNewRelfilenode
#endif
#if PG_VERSION_NUM < 180000
#define mvr_set_relallfrozen(form, n) ((void) (n))
#define mvr_swap_relallfrozen(a, b) ((void) 0)
#else
#define mvr_set_relallfrozen(form, n) ((form)->relallfrozen = (n))
#define mvr_swap_relallfrozen(a, b) \
	do { \
		int32		swap_frozen_ = (a)->relallfrozen; \
		(a)->relallfrozen = (b)->relallfrozen; \
		(b)->relallfrozen = swap_frozen_; \
	} while (0)
#endif

#endif							/* MATVIEW_REFRESH_COMPAT_H */
