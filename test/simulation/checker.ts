import type { StatementSync } from 'node:sqlite'
import { slotOf } from '../../src/core/ids.ts'
import { type MoveRecord, slotAfter, slotNumber } from '../../src/resharding/record.ts'
import type { MovedTable } from '../../src/resharding/tables.ts'
import type { ShardCall } from '../../src/sharding/routing.ts'
import { expandRuns } from '../../src/sharding/shard-map.ts'
import { type Keyspace, keyspaces } from '../../src/sharding/sharded-table.ts'
import type { SimulatedCall } from './database.ts'
import type { Process } from './processes.ts'
import type { LogPlace, Register, Write } from './registers.ts'
import type { ChangedRow, TurnedSlot } from './row-log.ts'
import { STRANGE_PRINT, STRANGE_TABLE } from './strange-rows.ts'
import { neighbourhood, SHARD_COUNT } from './template.ts'
import type { Shard, World } from './world.ts'

/** The state changes that a mover's batch may make. `-`: the slot has no row. */
const turns: Record<string, readonly string[]> = {
  prepare: ['- importing', 'moved importing'],
  capture: ['active moving'],
  fence: ['moving fenced'],
  'un-fence': ['fenced moving'],
  activate: ['importing moving'],
  retire: ['fenced moved'],
  // While the move settles, and only after the directory has recorded that it cannot be reversed any more.
  stop: ['moving active'],
  forget: ['moved -'],
  finish: ['moving active'],
  restore: ['moving active', 'fenced active', 'fenced moving'],
  drop: ['importing -', 'importing moved'],
}

/** The row that a client's request is meant to change, and the register of the row that it did change. */
export interface Effect {
  table: string
  write: Write
  /** Null if this is not the intended row. */
  registerOf(key: string): Register | null
}

/** A batch that a shard applied. */
export interface Executed {
  shard: Shard
  process: Process
  /** The operation's name, as the mover or the router calls it. */
  step: string
  appCall: ShardCall | null
  call: SimulatedCall
  rows: readonly ChangedRow[]
  turned: readonly TurnedSlot[]
  effect: Effect | null
  /** Where the shard's log has it, if the shard has replicas. */
  place: LogPlace | null
}

/**
 * Checks the invariants. M1, M2 and M7 are checked whenever something could have broken them: after each write that a
 * shard accepted, each batch of a mover, and each change of the map. The rest is checked at the end.
 */
export class Checker {
  violation: string | null = null
  readonly #world: World
  readonly #owners: Record<Keyspace, Uint16Array>
  readonly #steps = new Map<string, number>()
  readonly #statements = new Map<string, StatementSync>()
  readonly #registers = new Map<string, Register>()
  /** The moves that have committed, in the order of their epochs. */
  readonly #commits: { record: MoveRecord; epoch: number; at: number }[] = []
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

  /** The shard that the directory names as owner. */
  ownerOf(keyspace: Keyspace, slot: string): Shard {
    return this.#world.shards[this.#owners[keyspace][slotNumber(slot)]!]!
  }

  /** A shard has applied a batch. */
  executed(batch: Executed): void {
    if (batch.process.name.startsWith('mover')) this.#moved(batch)
    else {
      if (batch.appCall?.kind === 'write') this.#guarded(batch)
      for (const row of batch.rows) this.#changed(batch, row)
    }
  }

  /** From now on, only requests of clients may change this row. */
  watch(register: Register): Register {
    this.#registers.set(`${register.table} ${register.id}`, register)
    return register
  }

  /** A promotion has taken back what a shard's log had from here on. Returns the number of acknowledged writes. */
  lost(place: LogPlace): number {
    const now = this.#world.scheduler.now()
    return [...this.#registers.values()].reduce((sum, register) => sum + register.lose(place, now), 0)
  }

  registers(table: string): Register[] {
    return [...this.#registers.values()].filter((register) => register.table === table)
  }

  find(table: string, id: string): Register | undefined {
    return this.#registers.get(`${table} ${id}`)
  }

  /** A mover has changed the record. */
  recorded(record: MoveRecord): void {
    if (record.state !== 'committed' || record.epoch === null || record.epoch <= this.#epoch) return
    if (record.epoch !== this.#epoch + 1) this.report(`M7: the epoch went from ${this.#epoch} to ${record.epoch}`)
    this.#epoch = record.epoch
    this.#commits.push({ record, epoch: record.epoch, at: this.#world.scheduler.now() })
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

  /**
   * When the latest move of this slot had committed that a map of this epoch knows of. The owner in that map, and each
   * replica that serves it, has all writes from before.
   */
  movedAt(slot: string, epoch: number): number {
    const commit = this.#commits.findLast(
      ({ record: { keyspace, ranges }, epoch: own }) =>
        keyspace === 'users' && own <= epoch && ranges.some(([first, last]) => first <= slot && slot <= last),
    )
    return commit?.at ?? 0
  }

  /** All of a table's rows in these slots, as a text. Equal rows give equal texts. */
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

  /** M1 for the slots that a batch names, changed or not, because the client is told that the shard accepted it. */
  #guarded({ shard, step, call }: Executed): void {
    const [keyspace, named] = call.statements[0]!.values
    // Checked separately from the states of slots.
    if (call.statements.length === 1 || !keyspaces.includes(keyspace as Keyspace)) return
    const slots = String(named)
    for (const slot of slots.startsWith('[') ? (JSON.parse(slots) as string[]) : [slots])
      this.#takesWrites(shard, step, keyspace as Keyspace, slot)
  }

  /** M1 for the rows that a batch changed, regardless of its sender and of the slots that it names. M3 for the watched rows. */
  #changed({ shard, step, effect, place }: Executed, { keyspace, table, key }: ChangedRow): void {
    this.#takesWrites(shard, step, keyspace, slotOf(key))
    const column = watchedColumn(table, key)
    if (!column) return
    const asked = effect?.table === table ? effect.registerOf(key) : null
    const register = asked ?? this.find(table, key)
    if (register && asked) {
      // A password's hash does not reveal the password.
      const value = table === 'accounts' ? effect!.write.value : this.#valueOf(shard, column, register)
      const problem = register.apply(effect!.write, value, this.#world.scheduler.now(), place)
      if (problem) this.report(`${problem} (${step} at ${shard.id})`)
    } else if (register) this.#changedUnasked(shard, step, register, place)
    // An account has a register once its owner was told about it.
    else if (table !== 'accounts') this.report(`M3: ${step} wrote ${table} ${key}, but no client requested it`)
  }

  /** Housekeeping deletes expired rows. Nothing else may change a row without a request. */
  #changedUnasked(shard: Shard, step: string, register: Register, place: LogPlace | null): void {
    const now = this.#world.scheduler.now()
    const isExpired = register.table === FLEETING && register.value !== null && Number(register.value) <= now
    if (!isExpired || step !== 'shards.each')
      this.report(`M3: ${step} at ${shard.id} changed ${register.table} ${register.id}, but no client requested it`)
    register.apply(null, null, now, place)
  }

  #valueOf(shard: Shard, column: string, { table, id }: Register): string | null {
    const found = this.ask(shard, `SELECT ${column} AS value FROM ${table} WHERE id = ?`).get(id)
    return found ? String(found.value) : null
  }

  /** The value of a watched row at its owner. */
  stored(register: Register): string | null {
    const { table, id } = register
    return this.#valueOf(this.ownerOf('users', slotOf(id)), watchedColumn(table, id)!, register)
  }

  #takesWrites(shard: Shard, step: string, keyspace: Keyspace, slot: string): void {
    const owner = this.ownerOf(keyspace, slot)
    if (owner.id !== shard.id)
      this.report(`M1: ${shard.id} accepted a write (${step}) of ${keyspace} ${slot}, but ${owner.id} owns it`)
  }

  #moved({ shard, step, rows, turned }: Executed): void {
    const before = this.#steps.get(shard.id) ?? 0
    const { step: after, open } = this.ask(shard, 'SELECT step, open FROM mover').get() as {
      step: number
      open: number
    }
    if (after < before) this.report(`M7: the step of ${shard.id} fell from ${before} to ${after}`)
    if (open !== 0) this.report(`the window of ${shard.id} was left open by ${step}`)
    this.#steps.set(shard.id, after)
    for (const slot of turned) this.#turned(shard, step, slot)
    if (turned.length > 0) this.oneOwner()
    const seen = new Set<string>()
    for (const { keyspace, table, key } of rows) {
      const slot = slotOf(key)
      if (this.ownerOf(keyspace, slot).id !== shard.id || seen.has(keyspace + slot)) continue
      seen.add(keyspace + slot)
      if (!this.#isStillTheCopy(shard, keyspace, slot))
        this.report(`M2: ${step} changed rows of ${keyspace} ${slot} at ${shard.id}, which owns it: ${table} ${key}`)
    }
  }

  #turned(shard: Shard, step: string, { keyspace, slot, from, to, moveId }: TurnedSlot): void {
    if (from === to) return
    if (!turns[step]?.includes(`${from ?? '-'} ${to ?? '-'}`))
      this.report(
        `M1: ${step} at ${shard.id} made ${keyspace} ${slot} ${to ?? 'unknown'}, and it was ${from ?? 'unknown'}`,
      )
    if (step === 'stop' && !this.#world.directory.records.find(moveId!)?.captureStopped)
      this.report(`M2: the capture of ${moveId} stopped at ${shard.id}, but the move can still be reversed`)
  }

  /**
   * Between the commit and the activation, nothing writes at the new owner. An incarnation that read the record before
   * a late commit may carry the last tail again. Both sides must then still be equal, row by row.
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
}

/** The table of rows that expire. */
export const FLEETING = 'mail_tokens'

/**
 * SQL for the content of a watched row, as a text. Null if such rows are not watched. Keys of strange and fleeting rows
 * contain a dot.
 */
function watchedColumn(table: string, key: string): string | null {
  if (table === 'posts') return 'text'
  if (table === 'accounts') return 'password_hash'
  if (!key.includes('.')) return null
  return table === STRANGE_TABLE ? STRANGE_PRINT : table === FLEETING ? 'expires_at' : null
}

const preparedOf = new WeakMap<object, Map<string, StatementSync>>()

/** Kept with the database, across all seeds. */
function prepared({ sqlite }: Shard, sql: string): StatementSync {
  const statements = preparedOf.get(sqlite) ?? new Map<string, StatementSync>()
  preparedOf.set(sqlite, statements)
  const statement = statements.get(sql) ?? sqlite.prepare(sql)
  statements.set(sql, statement)
  return statement
}
