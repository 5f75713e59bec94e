import type { Keyspace } from '../sharding/sharded-table.ts'

/** A sharded table as a shard itself has it: found, never named by hand. */
export interface MovedTable {
  name: string
  keyspace: Keyspace
  /** Primary key columns in key order; the first starts with the owner's slot. */
  key: string[]
  columns: string[]
}

/**
 * Every fenced table of a keyspace and its columns, in one statement: what has no fence is not sharded, and what has one
 * moves. Columns of a migration that only one shard has yet would differ; a move is refused until versions are equal.
 */
export const FIND_TABLES = `
  SELECT tables.name AS name, columns.name AS column, columns.pk AS place
  FROM sqlite_master AS fences
  JOIN sqlite_master AS tables ON tables.type = 'table' AND tables.name = fences.tbl_name
  JOIN pragma_table_info(tables.name) AS columns
  WHERE fences.type = 'trigger' AND fences.name = fences.tbl_name || '_fence_insert'
    AND instr(fences.sql, 'keyspace = ''' || ?1 || '''') > 0
  ORDER BY tables.name, columns.cid`

interface ColumnRow {
  name: string
  column: string
  place: number // 0: not in the primary key; else its place there, from 1
}

/** The tables that `FIND_TABLES` found. */
export function readTables(keyspace: Keyspace, rows: ColumnRow[]): MovedTable[] {
  return [...Map.groupBy(rows, (row) => row.name)].map(([name, columns]) => ({
    name,
    keyspace,
    key: columns
      .filter(({ place }) => place > 0)
      .sort((a, b) => a.place - b.place)
      .map(({ column }) => column),
    columns: columns.map(({ column }) => column),
  }))
}
