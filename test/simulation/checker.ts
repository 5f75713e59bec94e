import type { StatementSync } from 'node:sqlite'
import { slotOf } from '../../src/core/ids.ts'
import { type MoveRecord, slotAfter, slotNumber } from '../../src/resharding/record.ts'
import type { MovedTable } from '../../src/resharding/tables.ts'
import type { ShardCall } from '../../src/sharding/router.ts'
import { expandRuns } from '../../src/sharding/shard-map.ts'
import { type Keyspace, keyspaces } from '../../src/sharding/sharded-table.ts'
import type { SimulatedCall } from './database.ts'
import type { Process } from './processes.ts'
import { neighbourhood, SHARD_COUNT } from './template.ts'
import type { Shard, World } from './world.ts'

/** Batches of a mover that change what a slot is somewhere. */
const turning = new Set([
  'prepare',
  'capture',
  'fence',
  'un-fence',
  'activate',
  'retire',
  'forget',
  'finish',
  'restore',
  'drop',
])
const WRITES_ROWS = /^(?:INSERT INTO|DELETE FROM) "/

/**
 * Holds the invariants. M1, M2 and M7 are asked whenever something could have broken them: after each write that a shard
 * accepted, each batch of a mover, each change of the map. What is left is asked at the end.
 */
export class Checker {
  violation: string | null = null
  readonly #world: World
  readonly #owners: Record<Keyspace, Uint16Array>
  readonly #steps = new Map<string, number>()
  readonly #statements = new Map<string, StatementSync>()
  #epoch = 1

  constructor(world: World) {
    this.#world = world
    const rows = world.template.storage.rows<{ keyspace: Keyspace; start: number; shard: number }>(
      'SELECT keyspace, start, shard FROM runs ORDER BY start',
    )
    this.#owners = Object.fromEntries(
      keyspaces.map((keyspace) => [
        keyspace,
        expandRuns(
          rows.filter((row) => row.keyspace === keyspace).map(({ start, shard }) => [start, shard]),
          SHARD_COUNT,
        ),
      ]),
    ) as Record<Keyspace, Uint16Array>
  }

  get epoch(): number {
    return this.#epoch
  }

  report(violation: string): void {
    this.violation ??= violation
    this.#world.note(() => `VIOLATION: ${violation}`)
  }

  /** The shard that the directory names. */
  ownerOf(keyspace: Keyspace, slot: string): Shard {
    return this.#world.shards[this.#owners[keyspace][slotNumber(slot)]!]!
  }

  /** A batch was applied at a shard. */
  executed(
    shard: Shard,
    process: Process,
    step: string,
    appCall: ShardCall | null,
    call: SimulatedCall,
    answers: D1Result<unknown>[],
  ): void {
    if (appCall?.kind === 'write') this.#accepted(shard, appCall, call, answers)
    if (process.name.startsWith('mover')) this.#moved(shard, step, call, answers)
  }

  /** A mover's change of the record was made. */
  recorded(record: MoveRecord): void {
    if (record.state !== 'committed' || record.epoch === null || record.epoch <= this.#epoch) return
    if (record.epoch !== this.#epoch + 1) this.report(`M7: the epoch went from ${this.#epoch} to ${record.epoch}`)
    this.#epoch = record.epoch
    const shard = this.#world.shards.findIndex(({ id }) => id === record.target.id)
    for (const [first, last] of record.ranges)
      this.#owners[record.keyspace].fill(shard, slotNumber(first), slotNumber(last) + 1)
    const source = this.#world.shards.find(({ id }) => id === record.source.id)!
    for (const table of this.#world.template.tables[record.keyspace]) {
      const [left, right] = [source, this.#world.shards[shard]!].map((one) =>
        this.fingerprint(one, table, record.ranges),
      )
      if (left !== right)
        this.report(
          `M2: ${record.target.id} became the owner without a whole copy of ${table.name}:\n  ${left}\n  ${right}`,
        )
    }
    this.oneOwner()
  }

  /** All of a table's rows in these slots, as a text that is equal where they are. */
  fingerprint(shard: Shard, table: MovedTable, ranges: [string, string][]): string {
    const columns = table.columns.map((column) => `quote("${column}")`).join(` || ',' || `)
    const sql = `SELECT coalesce(group_concat(line, ' ; '), '') AS text FROM (SELECT ${columns} AS line FROM "${table.name}" WHERE "${table.key[0]}" >= ? AND "${table.key[0]}" < ? ORDER BY ${table.key.map((column) => `"${column}"`).join(', ')})`
    return ranges
      .map(([first, last]) => (this.ask(shard, sql).get(first, slotAfter(last)) as { text: string }).text)
      .join(' ; ')
  }

  /** M1. */
  oneOwner(): void {
    const sql = "SELECT slot FROM slots WHERE keyspace = ? AND slot BETWEEN ? AND ? AND state IN ('active', 'moving')"
    for (const keyspace of keyspaces) {
      const seen = new Map<string, string>()
      for (const shard of this.#world.shards)
        for (const { slot } of this.ask(shard, sql).all(keyspace, ...neighbourhood[keyspace]) as { slot: string }[]) {
          const other = seen.get(slot)
          if (other) this.report(`M1: ${other} and ${shard.id} both take writes of ${keyspace} ${slot}`)
          seen.set(slot, shard.id)
        }
    }
  }

  ask(shard: Shard, sql: string): StatementSync {
    const key = `${shard.id} ${sql}`
    let statement = this.#statements.get(key)
    if (!statement) {
      statement = prepared(shard, sql)
      this.#statements.set(key, statement)
    }
    return statement
  }

  #accepted(shard: Shard, { slot, operation }: ShardCall, call: SimulatedCall, answers: D1Result<unknown>[]): void {
    if (slot === '*' || answers.every(({ meta }) => meta.changes === 0)) return
    const guard = call.statements[0]!
    const keyspace = guard.sql.startsWith('INSERT INTO slot_guard')
      ? (guard.values[0] as Keyspace)
      : operation.startsWith('claims.') && operation !== 'claims.bar'
        ? 'claims'
        : 'users'
    const owner = this.ownerOf(keyspace, slot)
    if (owner.id !== shard.id)
      this.report(`M1: ${shard.id} accepted a write (${operation}) of ${keyspace} ${slot}, and ${owner.id} owns it`)
  }

  #moved(shard: Shard, step: string, call: SimulatedCall, answers: D1Result<unknown>[]): void {
    const before = this.#steps.get(shard.id) ?? 0
    const { step: after, open } = this.ask(shard, 'SELECT step, open FROM mover').get() as {
      step: number
      open: number
    }
    if (after < before) this.report(`M7: the step of ${shard.id} fell from ${before} to ${after}`)
    if (open !== 0) this.report(`the window of ${shard.id} was left open by ${step}`)
    this.#steps.set(shard.id, after)
    if (turning.has(step)) this.oneOwner()
    call.statements.forEach(({ sql, values }, index) => {
      if (!WRITES_ROWS.test(sql) || answers[index]!.meta.changes === 0) return
      for (const slot of slotsNamed(String(values[0])))
        for (const keyspace of keyspaces)
          if (
            this.#isTableOf(keyspace, sql) &&
            this.ownerOf(keyspace, slot).id === shard.id &&
            !this.#isStillTheCopy(shard, keyspace, slot)
          )
            this.report(
              `M2: ${step} changed rows of ${keyspace} ${slot} at ${shard.id}, which owns it: ${sql.slice(0, 60)}`,
            )
    })
  }

  /**
   * Between the commit and the activation nobody writes at the new owner. An incarnation that had looked before a commit
   * that arrived late may carry the last tail once more: then both sides must be equal still, row by row.
   */
  #isStillTheCopy(shard: Shard, keyspace: Keyspace, slot: string): boolean {
    const stateAt = (one: Shard) =>
      (
        this.ask(one, 'SELECT state FROM slots WHERE keyspace = ? AND slot = ?').get(keyspace, slot) as
          | { state: string }
          | undefined
      )?.state
    const source = this.#world.shards.find((one) => stateAt(one) === 'fenced')
    if (stateAt(shard) !== 'importing' || !source) return false
    const rows = (one: Shard, table: MovedTable) => this.fingerprint(one, table, [[slot, slot]])
    return this.#world.template.tables[keyspace].every((table) => rows(source, table) === rows(shard, table))
  }

  #isTableOf(keyspace: Keyspace, sql: string): boolean {
    const name = /^(?:INSERT INTO|DELETE FROM) "([^"]+)"/.exec(sql)?.[1]
    return this.#world.template.tables[keyspace].some((table) => table.name === name)
  }
}

const preparedOf = new WeakMap<object, Map<string, StatementSync>>()

/** Kept with the database, over all seeds. */
function prepared({ sqlite }: Shard, sql: string): StatementSync {
  const statements = preparedOf.get(sqlite) ?? new Map<string, StatementSync>()
  preparedOf.set(sqlite, statements)
  const statement = statements.get(sql) ?? sqlite.prepare(sql)
  statements.set(sql, statement)
  return statement
}

/** The slots of the rows, or the first slot of the ranges, in a mover's JSON parameter. */
function slotsNamed(json: string): Set<string> {
  const slots = new Set<string>()
  for (const item of JSON.parse(json) as unknown[][]) {
    const text = String(item[0])
    slots.add(slotOf(text.startsWith('t') ? Buffer.from(text.slice(1), 'hex').toString() : text))
  }
  return slots
}
