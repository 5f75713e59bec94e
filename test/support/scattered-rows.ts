import { DatabaseSync } from 'node:sqlite'
import { slotText } from '../../src/core/ids.ts'
import type { Random } from '../../src/core/random.ts'
import type { ScatterQuery } from '../../src/sharding/scatter-query.ts'
import type { MapWire, Run } from '../../src/sharding/shard-map.ts'
import type { SlotSpans } from '../../src/sharding/slot-spans.ts'
import type { Direction } from '../../src/sharding/sort-keys.ts'
import { SimulatedShard } from '../simulation/database.ts'
import { ManualClock, mapWire, type RoutedShardsOptions, routedShards, ScriptedSource } from './sharding-doubles.ts'

export interface Thing {
  id: string
  name: string | null
}

export const SLOTS = 64
/** A world has only these slots. */
export const worldSlots: SlotSpans = [[0, SLOTS]]

const LEASE_MS = 3_000

interface Move {
  first: number
  after: number
  source: number
  target: number
  step: 'moving' | 'fenced' | 'committed'
  committedAt: number
}

/**
 * Rows in 64 slots over some databases, with the real map holder and moves in steps. As in a real move, both sides have
 * the rows until the purge, and the purge waits for every lease that names the source.
 */
export class ScatteredRows {
  readonly clock = new ManualClock()
  readonly sqlite: DatabaseSync[]
  readonly things: Thing[]
  readonly owners: number[]
  epoch = 1
  directoryAnswers = true
  /** Runs around each call of a shard. If it throws, the call fails. */
  onCall: (shard: number, execute: () => unknown) => Promise<void> = async (_, execute) => void execute()
  readonly #moves: Move[] = []

  constructor(shardCount: number, things: Thing[], ownerOf: (slot: number) => number) {
    this.things = things
    this.owners = Array.from({ length: SLOTS }, (_, slot) => ownerOf(slot))
    this.sqlite = Array.from({ length: shardCount }, () => {
      const database = new DatabaseSync(':memory:')
      database.exec(`CREATE TABLE slots (keyspace, slot, state, PRIMARY KEY (keyspace, slot));
        CREATE TABLE things (id TEXT PRIMARY KEY NOT NULL, name TEXT);
        CREATE INDEX things_by_name ON things (name, id)`)
      return database
    })
    for (const [slot, owner] of this.owners.entries()) this.#setState(owner, slot, 'active')
    for (const { id, name } of things)
      this.#at(this.owners[slotNumber(id)]!).prepare('INSERT INTO things VALUES (?, ?)').run(id, name)
  }

  /** The shards, as one isolate sees them. */
  isolate(random?: Random, client: Pick<RoutedShardsOptions, 'holder' | 'atLeastEpoch'> = {}) {
    const databases = Object.fromEntries(
      this.sqlite.map((database, index) => {
        const connection = new SimulatedShard(database).connection(async (_, execute) => {
          let answers: D1Result<unknown>[] | null = null
          await this.onCall(index, () => {
            answers = execute()
          })
          if (!answers) throw new Error('the test did not execute the call')
          return answers
        })
        return [`SHARD_${String(index).padStart(3, '0')}`, connection]
      }),
    )
    const source = new ScriptedSource(() => {
      if (!this.directoryAnswers) throw new Error('no directory')
      return this.wire()
    })
    return routedShards({
      databases,
      clock: this.clock,
      source,
      leaseMs: LEASE_MS,
      ...(random ? { random } : {}),
      ...client,
    })
  }

  wire(): MapWire {
    const runs: Run[] = this.owners.map((owner, slot) => [slot, owner])
    return mapWire(this.epoch, this.clock.now(), runs, this.sqlite.length)
  }

  startMove(first: number, after: number, target: number): void {
    const source = this.owners[first]!
    const slots = range(first, after)
    const isFree = this.#moves.every((move) => move.after <= first || move.first >= after)
    if (!isFree || source === target || slots.some((slot) => this.owners[slot] !== source)) return
    const rows = this.#at(source)
      .prepare('SELECT id, name FROM things WHERE id >= ? AND id < ?')
      .all(slotText(first), `${slotText(after - 1)}~`)
    for (const { id, name } of rows) this.#at(target).prepare('INSERT INTO things VALUES (?, ?)').run(id!, name!)
    for (const slot of slots) {
      this.#setState(source, slot, 'moving')
      this.#setState(target, slot, 'importing')
    }
    this.#moves.push({ first, after, source, target, step: 'moving', committedAt: 0 })
  }

  /** Takes the next step of a move, if it may. */
  stepMove(index: number): void {
    const move = this.#moves[index]
    if (!move) return
    const { first, after, source, target, step } = move
    const slots = range(first, after)
    if (step === 'moving') {
      for (const slot of slots) this.#setState(source, slot, 'fenced')
      move.step = 'fenced'
    } else if (step === 'fenced') {
      this.epoch++
      for (const slot of slots) {
        this.owners[slot] = target
        this.#setState(target, slot, 'active')
        this.#setState(source, slot, 'moved')
      }
      Object.assign(move, { step: 'committed', committedAt: this.clock.now() })
    } else if (this.clock.now() > move.committedAt + LEASE_MS) {
      this.#at(source)
        .prepare('DELETE FROM things WHERE id >= ? AND id < ?')
        .run(slotText(first), `${slotText(after - 1)}~`)
      for (const slot of slots) this.#at(source).prepare('DELETE FROM slots WHERE slot = ?').run(slotText(slot))
      this.#moves.splice(index, 1)
    }
  }

  get openMoves(): number {
    return this.#moves.length
  }

  #at(shard: number): DatabaseSync {
    return this.sqlite[shard]!
  }

  #setState(shard: number, slot: number, state: string): void {
    this.#at(shard)
      .prepare(`INSERT INTO slots VALUES ('users', ?, ?) ON CONFLICT DO UPDATE SET state = excluded.state`)
      .run(slotText(slot), state)
  }
}

const range = (first: number, after: number): number[] =>
  Array.from({ length: after - first }, (_, index) => first + index)

const slotNumber = (id: string): number => Number.parseInt(id.slice(0, 4), 16)

export const byName = (direction: Direction, hasNulls = false): ScatterQuery<Thing> => ({
  operation: 'things.list',
  keyspace: 'users',
  direction,
  hasNulls,
  sources: [{ columns: 'id, name', from: 'things', id: 'id', keys: ['name', 'id'] }],
})

/** Things in all slots, with names at the edges of UTF-8, some of them equal. */
export function someThings(count: number, random: Random, withNulls = false): Thing[] {
  const letters = ['a', 'b', 'é', '\uffff', '\u{1f600}', '\u{10ffff}']
  const pick = <T>(all: T[]): T => all[Math.floor(random.fraction() * all.length)]!
  return Array.from({ length: count }, (_, index) => ({
    id: `${slotText(Math.floor(random.fraction() * SLOTS))}thing${String(index).padStart(4, '0')}`,
    name: withNulls && random.fraction() < 0.2 ? null : pick(letters) + pick(letters) + pick(letters),
  }))
}

/** The things in the order of `byName`, sorted by their bytes. */
export function sorted(things: Thing[], direction: Direction): Thing[] {
  const bytes = ({ name }: Thing) => (name === null ? null : Buffer.from(name))
  const compare = (one: Thing, other: Thing): number => {
    const [a, b] = [bytes(one), bytes(other)]
    if (a && b) return Buffer.compare(a, b) || (one.id < other.id ? -1 : 1)
    return a ? 1 : b ? -1 : one.id < other.id ? -1 : 1
  }
  const ascending = things.toSorted(compare)
  return direction === 'ascending' ? ascending : ascending.toReversed()
}
