import { present } from '../core/present.ts'
import type { Keyspace } from '../sharding/sharded-table.ts'

/** A sharded table as a shard defines it. Tables are discovered, never listed by hand. */
export interface MovedTable {
  name: string
  keyspace: Keyspace
  /** Primary key columns in key order; the first starts with the owner's slot. */
  key: [string, ...string[]]
  /** Without generated columns. */
  columns: string[]
}

/**
 * Finds every fenced table of a keyspace and its columns in one statement. A table without a fence is not sharded;
 * every table with one moves. Columns would differ after a migration that only one shard has, so a move is refused
 * until versions are equal.
 *
 * A name may look like a fence of the other keyspace. Therefore the keyspace is matched directly after the table's own
 * name. A quoted name has quotes only in pairs, so no other text looks like that place. `pragma_table_info` omits
 * generated columns, which each shard computes.
 */
export const FIND_TABLES = `
  SELECT tables.name AS name, columns.name AS column, columns.pk AS place
  FROM sqlite_master AS fences
  JOIN sqlite_master AS tables ON tables.type = 'table' AND tables.name = fences.tbl_name COLLATE NOCASE
  JOIN pragma_table_info(tables.name) AS columns
  WHERE fences.type = 'trigger' AND fences.name = fences.tbl_name || '_fence_insert' COLLATE NOCASE
    AND instr(
      replace(fences.sql, char(10), ' '),
      ' BEFORE INSERT ON "' || replace(fences.tbl_name, '"', '""')
        || '" WHEN (SELECT state FROM slots WHERE keyspace = ''' || ?1 || ''' '
    ) > 0
  ORDER BY tables.name, columns.cid`

export interface ColumnRow {
  name: string
  column: string
  place: number // 0: not in the primary key; otherwise its place there, from 1
}

/** The tables that `FIND_TABLES` found. */
export function readTables(keyspace: Keyspace, rows: ColumnRow[]): MovedTable[] {
  return [...Map.groupBy(rows, (row) => row.name)].map(([name, columns]) => {
    const [first, ...others] = columns.filter(({ place }) => place > 0).sort((a, b) => a.place - b.place)
    return {
      name,
      keyspace,
      key: [present(first, `a primary key of ${name}`).column, ...others.map(({ column }) => column)],
      columns: columns.map(({ column }) => column),
    }
  })
}
