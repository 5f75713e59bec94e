import { DatabaseSync } from 'node:sqlite'
import { expect } from 'vitest'
import type { Random } from '../../src/core/random.ts'
import { quotedName } from '../../src/core/sql-text.ts'
import { Mover } from '../../src/resharding/move.ts'
import { isOver, slotAfter } from '../../src/resharding/record.ts'
import { fencedTable, fenceTriggers } from '../../src/sharding/fence-sql.ts'
import { type Keyspace, keyspaces } from '../../src/sharding/sharded-table.ts'
import type { bootedFleet } from './fleet.ts'
import {
  below,
  chance,
  createSql,
  definedColumns,
  drawKey,
  drawValue,
  drizzleTable,
  type HostileTable,
  pick,
} from './hostile-schemas.ts'
import { quietLog } from './sharding-doubles.ts'

type Fleet = Awaited<ReturnType<typeof bootedFleet>>

/** The most writes per move, one at each call of a mover. Writes without end would keep a move from ending. */
const writesMax = 40

interface HostileOutcome {
  moved: number
  refused: number
}

/**
 * Creates the tables in both shards, writes to them, moves a slot of each keyspace during further writes, and compares
 * every row with a database that no move touches. Skips tables that the generator refuses.
 */
export async function moveHostile(fleet: Fleet, tables: HostileTable[], slot: string, random: Random) {
  const outcome: HostileOutcome = { moved: 0, refused: 0 }
  const taken = tables.filter((table) => {
    const definition = drizzleTable(table)
    expect(definedColumns(definition)).toBe(table.columns.length)
    if (table.flaw === null) return fencedTable(definition) !== null
    expect(() => fencedTable(definition)).toThrow(table.flaw)
    outcome.refused++
    return false
  })
  const ddl = taken.flatMap((table) => [
    createSql(table),
    ...fenceTriggers(fencedTable(drizzleTable(table))).map((trigger) => trigger.sql),
  ])
  for (const shard of fleet.bound.values()) for (const sql of ddl) await shard.prepare(sql).run()
  const move = new HostileMove(fleet, taken, slot, random)
  try {
    await move.run()
    outcome.moved += taken.length
  } finally {
    for (const shard of fleet.bound.values())
      for (const { name } of taken) await shard.prepare(`DROP TABLE ${quotedName(name)}`).run()
  }
  return outcome
}

class HostileMove {
  readonly #fleet: Fleet
  readonly #tables: HostileTable[]
  readonly #slot: string
  readonly #random: Random
  /** Holds every row as it should be. */
  readonly #mirror = new DatabaseSync(':memory:')
  /** The keys written so far, by table and slot, as SQL. */
  readonly #keys = new Map<string, string[][]>()
  #writes = 0

  constructor(fleet: Fleet, tables: HostileTable[], slot: string, random: Random) {
    this.#fleet = fleet
    this.#tables = tables
    this.#slot = slot
    this.#random = random
    for (const table of tables) this.#mirror.exec(createSql(table))
  }

  async run(): Promise<void> {
    for (const table of this.#tables)
      for (let count = 0; count < 10; count++) {
        await this.#write(table, 'insert', this.#slot)
        if (count < 2) await this.#write(table, 'insert', slotAfter(this.#slot))
      }
    const at = Object.fromEntries(keyspaces.map((keyspace) => [keyspace, 'SHARD_000'])) as Record<Keyspace, string>
    await this.#compare(at)
    for (const keyspace of new Set(this.#tables.map((table) => table.keyspace))) {
      this.#writes = 0
      await this.#move(keyspace)
      at[keyspace] = 'SHARD_001'
      await this.#compare(at)
    }
    expect(await this.#countOf('slot_changes')).toEqual([0, 0])
  }

  async #move(keyspace: Keyspace): Promise<void> {
    const { records, planning, clock, bound } = this.#fleet
    const [planned] = await planning.plan({ keyspace, ranges: [[this.#slot, this.#slot]], target: 'shard-001' })
    const { id } = planned!
    const mover = new Mover({
      records: {
        find: async (move) => records.find(move),
        change: async (...change) => records.change(...change),
        report: async (...progress) => records.report(...progress),
      },
      shards: bound,
      clock,
      random: this.#random,
      log: quietLog,
      share: 1,
      observer: {
        before: async () => {
          if (this.#writes++ < writesMax) await this.#writeAny()
        },
      },
    })
    for (let turns = 0; !isOver(records.find(id)!); turns++) {
      expect(turns, JSON.stringify(records.find(id))).toBeLessThan(50)
      const comeBackAt = await mover.turn(id)
      if (comeBackAt !== null && comeBackAt > clock.time) clock.advance(comeBackAt - clock.time)
    }
    expect(records.find(id)).toMatchObject({ state: 'done', error: null })
  }

  #writeAny(): Promise<void> {
    const verb = pick(this.#random, ['insert', 'insert', 'upsert', 'upsert', 'update', 'delete'] as const)
    return this.#write(pick(this.#random, this.#tables), verb, this.#slot)
  }

  /**
   * One write, as the application sends it: guarded, to the shard that takes it. If no shard takes it, it does not
   * count.
   */
  async #write(table: HostileTable, verb: 'insert' | 'upsert' | 'update' | 'delete', slot: string): Promise<void> {
    const sql = this.#writeSql(table, verb, slot)
    for (const shard of this.#fleet.bound.values()) {
      const guard = shard.prepare('INSERT INTO slot_guard (keyspace, slot) VALUES (?, ?)').bind(table.keyspace, slot)
      try {
        await shard.batch([guard, shard.prepare(sql)])
      } catch (error) {
        if (/SLOT_FENCED|SLOT_NOT_OWNED/.test((error as Error).message)) continue
        expect((error as Error).message, sql).toMatch(/UNIQUE constraint failed/)
        return
      }
      this.#mirror.exec(sql)
      return
    }
  }

  #writeSql(table: HostileTable, verb: 'insert' | 'upsert' | 'update' | 'delete', slot: string): string {
    const random = this.#random
    const key = this.#key(table, verb, slot)
    const name = quotedName(table.name)
    const others = table.columns.filter((column) => !column.isKey && column.generated === null)
    const where = table.key.map((column, place) => `x.${quotedName(column)} = ${key[place]}`).join(' AND ')
    if (verb === 'delete' || (verb === 'update' && others.length === 0))
      return `DELETE FROM ${name} AS x WHERE ${where}`
    const values = others.map((column) => [quotedName(column.name), drawValue(random, column, table.isStrict)] as const)
    if (verb === 'update') {
      const set = values.slice(below(random, values.length)).map(([column, value]) => `${column} = ${value}`)
      return `UPDATE ${name} AS x SET ${set.join(', ')} WHERE ${where}`
    }
    const columns = [...table.key.map(quotedName), ...values.map(([column]) => column)]
    const insert = `INSERT INTO ${name} AS x (${columns.join(', ')}) VALUES (${[...key, ...values.map(([, value]) => value)].join(', ')})`
    if (verb === 'insert') return insert
    const set = values.map(([column]) => `${column} = excluded.${column}`).join(', ')
    return `${insert} ON CONFLICT (${table.key.map(quotedName).join(', ')}) DO ${set === '' ? 'NOTHING' : `UPDATE SET ${set}`}`
  }

  /** A new key for an insert; otherwise usually a key that was written before. */
  #key(table: HostileTable, verb: string, slot: string): string[] {
    const known = this.#keys.get(`${slot} ${table.name}`) ?? []
    this.#keys.set(`${slot} ${table.name}`, known)
    if (verb !== 'insert' && known.length > 0 && chance(this.#random, 0.8)) return pick(this.#random, known)
    const key = drawKey(this.#random, table, slot)
    known.push(key)
    return key
  }

  /**
   * Compares every row of the slot with its one shard exactly, and checks that the rows of the next slot did not move.
   */
  async #compare(at: Record<Keyspace, string>): Promise<void> {
    const next = slotAfter(this.#slot)
    for (const table of this.#tables)
      for (const [binding, shard] of this.#fleet.bound) {
        const seen = async (slot: string) => (await shard.prepare(rowsSql(table, slot)).all()).results.map(spread)
        const wanted = (slot: string, isHere: boolean) =>
          isHere ? this.#mirror.prepare(rowsSql(table, slot)).all().map(spread) : []
        const what = `${table.name} at ${binding}`
        expect(await seen(this.#slot), what).toEqual(wanted(this.#slot, at[table.keyspace] === binding))
        expect(await seen(next), `${what}, next slot`).toEqual(wanted(next, binding === 'SHARD_000'))
      }
  }

  #countOf(table: string): Promise<(number | null)[]> {
    return Promise.all(
      [...this.#fleet.bound.values()].map((shard) =>
        shard.prepare(`SELECT count(*) AS n FROM ${table}`).first<number>('n'),
      ),
    )
  }
}

const spread = (row: object): object => ({ ...row })

/** The class and exact value of each column, including generated ones. */
function rowsSql({ name, columns, key }: HostileTable, slot: string): string {
  const values = columns.map((column, place) => {
    const value = `x.${quotedName(column.name)}`
    return `typeof(${value}) || CASE typeof(${value}) WHEN 'real' THEN format('%!.17g', ${value}) ELSE hex(${value}) END AS v${place}`
  })
  const slotOf = `substr(x.${quotedName(key[0]!)}, 1, 4)`
  const order = key.map((column) => `x.${quotedName(column)}`).join(', ')
  return `SELECT ${values.join(', ')} FROM ${quotedName(name)} AS x WHERE ${slotOf} = '${slot}' ORDER BY ${order}`
}
