import type { DatabaseSync } from 'node:sqlite'
import type { MovedTable } from '../../src/resharding/tables.ts'
import { type Keyspace, keyspaces } from '../../src/sharding/sharded-table.ts'

/** One row that a call inserted, updated or deleted. */
export interface ChangedRow {
  keyspace: Keyspace
  table: string
  key: string
}

/**
 * A slot whose state a call changed. Null means that the slot has no row. `moveId` is the move that the slot belonged
 * to.
 */
export interface TurnedSlot {
  keyspace: Keyspace
  slot: string
  from: string | null
  to: string | null
  moveId: string | null
}

/**
 * Logs the rows of sharded tables that a call changed, whatever the form of its statements. Temporary triggers call a
 * function of this process. They write nothing, so `changes()` and `meta.changes` stay D1's.
 */
export class RowLog {
  /** Since the latest `clear()`. */
  rows: ChangedRow[] = []
  turned: TurnedSlot[] = []
  /** Rows that were inserted or rewritten since then, including the fence's own. These may need a new page. */
  grown = 0

  constructor(sqlite: DatabaseSync, tables: Partial<Record<Keyspace, MovedTable[]>>) {
    const all = keyspaces.flatMap((keyspace) => tables[keyspace] ?? [])
    sqlite.function('log_changed_row', (index, key, isWritten) => {
      const { keyspace, name } = all[Number(index)]!
      this.rows.push({ keyspace, table: name, key: String(key) })
      this.grown += Number(isWritten)
      return null
    })
    sqlite.function('log_growth', () => {
      this.grown++
      return null
    })
    const trigger = (name: string, event: string, table: string, call: string) =>
      sqlite.exec(`CREATE TEMP TRIGGER log_${name} AFTER ${event} ON main."${table}" BEGIN SELECT ${call}; END`)
    for (const [index, { name, key }] of all.entries()) {
      trigger(`${name}_insert`, 'INSERT', name, `log_changed_row(${index}, NEW."${key[0]}", 1)`)
      trigger(`${name}_update`, 'UPDATE', name, `log_changed_row(${index}, NEW."${key[0]}", 1)`)
      trigger(`${name}_delete`, 'DELETE', name, `log_changed_row(${index}, OLD."${key[0]}", 0)`)
    }
    sqlite.function('log_turned_slot', (keyspace, slot, from, to, moveId) => {
      this.turned.push({ keyspace, slot, from, to, moveId } as TurnedSlot)
      return null
    })
    const turned = (event: string, row: string, from: string, to: string) =>
      trigger(
        `turned_${event}`,
        event,
        'slots',
        `log_turned_slot(${row}.keyspace, ${row}.slot, ${from}, ${to}, ${row}.move_id)`,
      )
    turned('INSERT', 'NEW', 'NULL', 'NEW.state')
    turned('UPDATE', 'OLD', 'OLD.state', 'NEW.state')
    turned('DELETE', 'OLD', 'OLD.state', 'NULL')
    for (const name of ['slots', 'slot_changes']) trigger(name, 'INSERT', name, 'log_growth()')
  }

  clear(): void {
    if (this.rows.length > 0) this.rows = []
    if (this.turned.length > 0) this.turned = []
    this.grown = 0
  }
}
